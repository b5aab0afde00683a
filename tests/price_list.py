"""A small server that answers as the AWS Price List Query API documents it, for tests; moto has none."""

from __future__ import annotations

import json
from typing import Any

from tests.fault_proxy import Proxy, Reply, Request, reply

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


class PriceList(Proxy):
    """Serves `products` on a free port while the context is open; `asked` holds the filters of every request.

    Set `status` to answer with an error of that status instead.
    """

    def __init__(self, *products: dict[str, Any]) -> None:
        self.products, self.asked, self.status = list(products), list[dict[str, str]](), 200
        super().__init__("http://nowhere.invalid")

    def before(self, request: Request) -> Reply:
        """What is asked for."""
        assert request.operation == "GetProducts"
        return reply((self.status, self.answer(request.json())))

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
