"""Terraform's protocol, version 6: every call answered from the schema, the planning and the resources."""

from collections.abc import Callable
from typing import Any, Protocol

from tests.infra.stand_in.api import Answered, Api
from tests.infra.stand_in.balancers import Balancers, Configs, Nodes
from tests.infra.stand_in.facts import LEGACY
from tests.infra.stand_in.instances import Instances
from tests.infra.stand_in.others import OTHERS
from tests.infra.stand_in.planning import RESOURCES, SCHEMAS, known, plan
from tests.infra.stand_in.wire import Json, errors, path, read, schema, write
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc


class Resource(Protocol):
    def create(self, api: Api, plan: Json) -> Json: ...
    def read(self, api: Api, state: Json) -> Json | None: ...
    def update(self, api: Api, prior: Json, plan: Json) -> Json: ...
    def delete(self, api: Api, state: Json) -> None: ...
    def imported(self, id_: str) -> Json: ...


MAKERS: dict[str, Resource] = {
    "linode_instance": Instances(),
    "linode_nodebalancer": Balancers(),
    "linode_nodebalancer_config": Configs(),
    "linode_nodebalancer_node": Nodes(),
    **{each.kind: each for each in OTHERS},
}


class Servicer(rpc.ProviderServicer):  # type: ignore[misc]  # the stubs have no types
    """`app` is what the package's runner passes; nothing of it is used but its name."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._api: Api | None = None

    def GetMetadata(self, request: Any, context: Any) -> Any:
        return pb.GetMetadata.Response(server_capabilities=pb.ServerCapabilities(plan_destroy=True))

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        return pb.GetProviderSchema.Response(
            provider=schema(SCHEMAS["provider"]),
            resource_schemas={name: schema(entry) for name, entry in RESOURCES.items()},
            server_capabilities=pb.ServerCapabilities(plan_destroy=True),
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        return pb.ValidateResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        try:
            self._api = Api.configured(read(request.config))
        except Answered as refusal:
            return pb.ConfigureProvider.Response(diagnostics=errors([str(refusal)]))
        return pb.ConfigureProvider.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        state = read(pb.DynamicValue(json=request.raw_state.json))
        return pb.UpgradeResourceState.Response(upgraded_state=write(state))

    def ReadResource(self, request: Any, context: Any) -> Any:
        def look(api: Api) -> Json | None:
            return MAKERS[request.type_name].read(api, read(request.current_state))

        return self._answer(pb.ReadResource.Response, "new_state", request.current_state, look)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        prior, proposed, config = (read(each) for each in (
            request.prior_state, request.proposed_new_state, request.config
        ))  # fmt: skip
        planned, replaces = plan(request.type_name, prior, proposed, config)
        return pb.PlanResourceChange.Response(
            planned_state=_written(planned),
            requires_replace=[path(each) for each in replaces],
            legacy_type_system=request.type_name in LEGACY,
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        resource = MAKERS[request.type_name]
        prior, planned = read(request.prior_state), known(read(request.planned_state))

        def change(api: Api) -> Json | None:
            if planned is None:
                resource.delete(api, prior)
                return None
            return resource.create(api, planned) if prior is None else resource.update(api, prior, planned)

        response = self._answer(pb.ApplyResourceChange.Response, "new_state", request.prior_state, change)
        response.legacy_type_system = request.type_name in LEGACY
        return response

    def ImportResourceState(self, request: Any, context: Any) -> Any:
        state = MAKERS[request.type_name].imported(request.id)
        imported = pb.ImportResourceState.ImportedResource(type_name=request.type_name, state=write(state))
        return pb.ImportResourceState.Response(imported_resources=[imported])

    def GetFunctions(self, request: Any, context: Any) -> Any:
        return pb.GetFunctions.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:
        return pb.StopProvider.Response()

    def _answer(self, kind: Any, field: str, before: Any, act: Callable[[Api], Json | None]) -> Any:
        """The new state; after a refusal the one before, so that Terraform forgets nothing."""
        if self._api is None:
            return kind(**{field: before}, diagnostics=errors(["the provider was not configured"]))
        try:
            return kind(**{field: _written(act(self._api))})
        except Answered as refusal:
            return kind(**{field: before}, diagnostics=errors([str(refusal)]))


def _written(state: Json | None) -> Any:
    return write(state) if state is not None else pb.DynamicValue(msgpack=b"\xc0")
