"""A small server that answers as the AWS Price List Query API documents it, for tests; moto has none."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

DEFAULTS = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


def product(instance_type: str, region: str, usd: str, unit: str = "Hrs", **attributes: str) -> dict[str, Any]:
    """One product, in the form of the price list (AWS Price List API Reference, GetProducts, response syntax)."""
    about = {"instanceType": instance_type, "regionCode": region, **DEFAULTS, **attributes}
    part = {"rateCode": "A.B.C", "unit": unit, "appliesTo": [], "pricePerUnit": {"USD": usd}}
    term = {"sku": "A", "priceDimensions": {"A.B.C": part}, "termAttributes": {}}
    reserved = {"A.R": {"priceDimensions": {"A.R.C": {**part, "pricePerUnit": {"USD": "0.1"}}}}}
    return {
        "product": {"productFamily": "Compute Instance", "attributes": about, "sku": "A"},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {"A.B": term}, "Reserved": reserved},
    }


class PriceList:
    """Serves `products` on a free port while the context is open; `asked` holds the filters of every request.

    Set `status` to answer with an error of that status instead.
    """

    def __init__(self, *products: dict[str, Any]) -> None:
        self.products, self.asked, self.status = list(products), list[dict[str, str]](), 200
        served = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
                content = json.dumps(served.answer(body)).encode()
                self.send_response(served.status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Products that all filters match; each as JSON text."""
        wanted = {one["Field"]: one["Value"] for one in body["Filters"]}
        assert body["ServiceCode"] == "AmazonEC2"
        assert {one["Type"] for one in body["Filters"]} == {"TERM_MATCH"}
        self.asked.append(wanted)
        if self.status != 200:
            return {"__type": "AccessDeniedException", "Message": "not authorized to perform: pricing:GetProducts"}
        found = [one for one in self.products if wanted.items() <= one["product"]["attributes"].items()]
        return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(one) for one in found]}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
