"""Regions, types, images and prices: the same for everybody, never changed."""

from celadon.lab.api.endpoint import Call, Endpoint, Json
from celadon.lab.facts import catalogue
from celadon.lab.world.problems import NotFound

RESOLVERS: Json = {  # addresses kept for documentation: the lab answers no DNS
    "ipv4": "192.0.2.53, 192.0.2.54",
    "ipv6": "2001:db8::35, 2001:db8::36",
}
KERNEL: Json = {
    "id": "linode/grub2",
    "label": "GRUB 2",
    "version": "2.06",
    "kvm": True,
    "xen": False,
    "architecture": "x86_64",
    "pvops": False,
    "deprecated": False,
    "built": "2018-01-02T03:04:05",
}


def regions(_: Call) -> list[Json]:
    return [_region(row) for row in catalogue.table("regions").values()]


def region(call: Call) -> Json:
    return _region(_find("regions", call))


def types(_: Call) -> list[Json]:
    return [_type(row) for row in catalogue.table("types").values()]


def type_(call: Call) -> Json:
    return _type(_find("types", call))


def images(_: Call) -> list[Json]:
    return [_image(row) for row in catalogue.table("images").values()]


def image(call: Call) -> Json:
    return _image(_find("images", call))


def balancer_types(_: Call) -> list[Json]:
    return list(catalogue.table("nodebalancer_types").values())


def kernels(_: Call) -> list[Json]:
    return [KERNEL]


def kernel(call: Call) -> Json:
    if call.path["row_id"] != KERNEL["id"]:
        raise NotFound
    return KERNEL


def _find(table: str, call: Call) -> Json:
    try:
        return catalogue.table(table)[call.path["row_id"]]
    except KeyError:
        raise NotFound from None


def _region(row: Json) -> Json:
    return {**row, "resolvers": RESOLVERS, "monitors": {"alerts": [], "metrics": []}}


def _type(row: Json) -> Json:
    return {"accelerated_devices": 0, **row}


def _image(row: Json) -> Json:
    made = {
        "created_by": "linode",
        "description": "",
        "updated": row["created"],
        "expiry": None,
        "tags": [],
        "regions": [],
        "total_size": row["size"],
        "is_shared": False,
        "image_sharing": None,
    }
    return {**made, **row}


ENDPOINTS = (
    Endpoint("GET", "/regions", "", regions, "list"),
    Endpoint("GET", "/regions/{row_id}", "", region),
    Endpoint("GET", "/linode/types", "", types, "list"),
    Endpoint("GET", "/linode/types/{row_id}", "", type_),
    Endpoint("GET", "/linode/kernels", "", kernels, "list"),
    Endpoint("GET", "/linode/kernels/{row_id:path}", "", kernel),
    Endpoint("GET", "/images", "images", images, "images"),
    Endpoint("GET", "/images/{row_id:path}", "images", image),
    Endpoint("GET", "/nodebalancers/types", "", balancer_types, "list"),
)
