"""How the certificate looks: one style sheet, in light and dark, on paper, and without colour. No rule loads anything.

Hatching carries the colours' meaning, and colour repeats it: a black-and-white printout tells the same story.
"""

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#14181f;--soft:#545d6b;--line:#d7dce3;--panel:#f5f7f9;
--good:#116534;--bad:#b4231b;--blue:#2f62c9;--blue-wash:#dbe6fb;--green:#1b7a44;--green-wash:#d6f0e0;
--grey:#6b7380;--grey-wash:#e8eaee}
@media (prefers-color-scheme:dark){:root{--page:#11151b;--ink:#e8ebf0;--soft:#a3adba;--line:#333b47;--panel:#1a2029;
--good:#6cd698;--bad:#ff8f85;--blue:#8fb3ff;--blue-wash:#1d3156;--green:#66cf94;--green-wash:#143d27;
--grey:#9aa3b0;--grey-wash:#2a313b}}
@media print{:root{color-scheme:light;--page:#fff;--ink:#000;--soft:#444;--line:#bbb;--panel:#fff;--good:#000;
--bad:#000;--blue:#2f62c9;--blue-wash:#dbe6fb;--green:#1b7a44;--green-wash:#d6f0e0;--grey:#6b7380;--grey-wash:#e8eaee}
body{font-size:10.5pt}main{max-width:none;padding:0}.tiles div,figure,li,tr{break-inside:avoid}h2{break-after:avoid}
.wide{overflow:visible}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:62rem;margin:0 auto;padding:2rem 1.25rem 3rem}
header p{margin:0;color:var(--soft)}
h1{font-size:2rem;line-height:1.2;margin:.2rem 0 .4rem;text-wrap:balance}
h2{font-size:1.1rem;margin:2.2rem 0 .6rem}
.word{display:inline-block;border:2px solid;border-radius:999px;padding:.05rem .7rem;font-size:.9rem;font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(12rem,1fr));gap:.75rem;margin:1.4rem 0}
.tiles div{background:var(--panel);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
.tiles dt{color:var(--soft);font-size:.85rem}.tiles dd{margin:0}
.tiles .figure{font-size:1.7rem;font-weight:650;line-height:1.25;overflow-wrap:normal}
.tiles .note{color:var(--soft);font-size:.85rem;text-wrap:balance}
figure{margin:1.5rem 0 0}figcaption{color:var(--soft);font-size:.9rem;margin-top:.4rem}
.wide{overflow-x:auto}
svg{display:block;width:100%;min-width:44rem;height:auto;font:12px system-ui,-apple-system,"Segoe UI",sans-serif}
svg text{fill:var(--ink)}svg .soft{fill:var(--soft)}svg .halo{paint-order:stroke;stroke:var(--page);stroke-width:4px;
stroke-linejoin:round;font-weight:600}
svg .rule{stroke:var(--line);fill:none}svg .stage{fill:var(--panel);stroke:var(--line)}
svg .mark{stroke:var(--soft);stroke-dasharray:2 3;fill:none}svg .dot{fill:var(--page);stroke:var(--ink)}
svg .bad{fill:var(--bad)}svg .dot.bad{fill:var(--page);stroke:var(--bad);stroke-width:2}
svg .p99{stroke:var(--ink);stroke-width:2;fill:none}svg .p50{stroke:var(--soft);stroke-width:1.5;fill:none;
stroke-dasharray:5 3}
svg .blue-wash{fill:var(--blue-wash)}svg .blue-line{stroke:var(--blue);fill:none}
svg .green-wash{fill:var(--green-wash)}svg .green-dot{fill:var(--green)}
svg .grey-wash{fill:var(--grey-wash)}svg .grey-line{stroke:var(--grey);fill:none}
ol.key{columns:18rem;padding-left:1.6rem;margin:.6rem 0 0;font-size:.9rem}ol.key li{padding-left:.2rem}
.time{color:var(--soft)}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .9rem .3rem 0;
border-bottom:1px solid var(--line)}th{font-weight:600}thead th{color:var(--soft);font-size:.85rem}
table.facts th{width:11rem;color:var(--soft);font-weight:400}
table.story td:first-child{white-space:nowrap;width:5rem}table.story td{overflow-wrap:anywhere}
.reason{color:var(--soft)}
ul.open{padding-left:1.2rem}ul.open li{margin:.25rem 0}
code{font:.9em ui-monospace,Menlo,Consolas,monospace}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.8rem;color:var(--soft);font-size:.9rem}
"""

STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'"
"""Of the page: it may load nothing and run nothing, whatever a host or a release has put into its texts."""
