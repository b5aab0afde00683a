"""A small server that answers as EC2 Image Builder does, for tests; moto has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from tests.fault_proxy import Proxy, Reply, Request

ACCOUNT, REGION = "123456789012", "us-east-1"
PAGE: Final = 2
"""Items a page, so that whoever forgets the next page is found."""

Answer = tuple[int, dict[str, Any]]


def arn(kind: str, name: str) -> str:
    return f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:{kind}/{name}"


def refusal(code: str, message: str = "no") -> Answer:
    """An error in the form of the REST-JSON protocol."""
    return 400, {"code": code, "message": message}


class ImageBuilder(Proxy):
    """Serves what is put into it on a free port while the context is open.

    Attributes:
        images: image resources by ARN; components, recipes and pipelines likewise.
        refused: answers by ARN for whoever wants to delete it.
        asked: names of the operations in the order of the requests.
    """

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.components: dict[str, dict[str, Any]] = {}
        self.recipes: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, Answer] = {}
        self.asked: list[str] = []
        super().__init__("http://nowhere.invalid")

    def before(self, request: Request) -> Reply:
        """What is asked for."""
        parts = urlsplit(request.path)
        status, answer = self.answer(parts.path.strip("/"), request.json() | dict(parse_qsl(parts.query)))
        headers = [("Content-Type", "application/json")]
        if status != 200:
            headers.append(("x-amzn-ErrorType", answer["code"]))
        return Reply(status, headers, json.dumps(answer).encode())

    def add_component(self, name: str) -> str:
        """A component of one build version; its ARN."""
        made = arn("component", f"{name}/1.0.0/1")
        self.components[made] = {"arn": made, "name": name}
        return made

    def add_recipe(self, name: str, parent: str, component: str) -> str:
        """A recipe of one component; its ARN."""
        made = arn("image-recipe", f"{name}/1.0.0")
        self.recipes[made] = {"arn": made, "name": name, "parentImage": parent}
        self.recipes[made]["components"] = [{"componentArn": component}]
        return made

    def add_pipeline(self, name: str, recipe: str) -> str:
        """A pipeline of a recipe; its ARN."""
        made = arn("image-pipeline", name)
        self.pipelines[made] = {"arn": made, "name": name, "imageRecipeArn": recipe}
        return made

    def add_image(self, recipe: str, number: int, status: str, created: str, *image_ids: str) -> str:
        """A bake of the recipe of that name; its ARN."""
        made = arn("image", f"{recipe}/1.0.0/{number}")
        amis = [{"region": REGION, "image": one, "accountId": ACCOUNT} for one in image_ids]
        self.images[made] = {"arn": made, "name": recipe, "version": f"1.0.0/{number}", "dateCreated": created}
        self.images[made] |= {"state": {"status": status}, "outputResources": {"amis": amis}}
        return made

    def answer(self, operation: str, asked: dict[str, Any]) -> Answer:
        """Of one request."""
        self.asked.append(operation)
        known: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "ListImages": self._list_images,
            "ListImageBuildVersions": lambda given: _page(
                [one for one in self.images.values() if one["arn"].startswith(given["imageVersionArn"] + "/")],
                given,
                "imageSummaryList",
            ),
            "ListImageRecipes": lambda given: _page(_named(self.recipes, given), given, "imageRecipeSummaryList"),
            "ListComponents": self._list_components,
            "ListComponentBuildVersions": lambda given: _page(
                [one for one in self.components.values() if one["arn"].startswith(given["componentVersionArn"] + "/")],
                given,
                "componentSummaryList",
            ),
            "ListImagePipelines": lambda given: _page(_named(self.pipelines, given), given, "imagePipelineList"),
            "GetImageRecipe": lambda given: (200, {"imageRecipe": self.recipes[given["imageRecipeArn"]]}),
            "DeleteImage": self._delete_image,
            "DeleteImageRecipe": lambda given: self._delete(
                self.recipes, given["imageRecipeArn"], self._users_of_recipe(given["imageRecipeArn"])
            ),
            "DeleteComponent": lambda given: self._delete(
                self.components,
                given["componentBuildVersionArn"],
                [one for one in self.recipes.values() if given["componentBuildVersionArn"] in json.dumps(one)],
            ),
        }
        return known[operation](asked)

    def _list_images(self, asked: dict[str, Any]) -> Answer:
        assert asked["owner"] == "Self"
        versions = {one["arn"].rpartition("/")[0]: one["name"] for one in _named(self.images, asked)}
        return _page([{"arn": found, "name": name} for found, name in versions.items()], asked, "imageVersionList")

    def _list_components(self, asked: dict[str, Any]) -> Answer:
        versions = {one["arn"].rpartition("/")[0]: one["name"] for one in _named(self.components, asked)}
        return _page([{"arn": found, "name": name} for found, name in versions.items()], asked, "componentVersionList")

    def _delete_image(self, asked: dict[str, Any]) -> Answer:
        wanted = asked["imageBuildVersionArn"]
        status = self.images.get(wanted, {}).get("state", {}).get("status")
        busy = status in ("PENDING", "CREATING", "BUILDING", "TESTING", "DISTRIBUTING", "INTEGRATING")
        return self._delete(self.images, wanted, [status] if busy else [])

    def _users_of_recipe(self, wanted: str) -> list[Any]:
        name = self.recipes.get(wanted, {}).get("name")
        pipelines = [one for one in self.pipelines.values() if one["imageRecipeArn"] == wanted]
        return [*pipelines, *(one for one in self.images.values() if one["name"] == name)]

    def _delete(self, things: dict[str, dict[str, Any]], wanted: str, users: list[Any]) -> Answer:
        if wanted in self.refused:
            return self.refused[wanted]
        if wanted not in things:
            return refusal("ResourceNotFoundException", f"{wanted} does not exist")
        if users:
            return refusal("ResourceDependencyException", f"{wanted} is in use")
        del things[wanted]
        return 200, {"requestId": "1"}


def _named(things: dict[str, dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]:
    """By the filter `name`, whose `*` stands at the end."""
    found = list(things.values())
    for one in asked.get("filters") or ():
        assert one["name"] == "name"
        (value,) = one["values"]
        assert value.endswith("*")
        found = [thing for thing in found if thing["name"].startswith(value.removesuffix("*"))]
    return found


def _page(found: list[dict[str, Any]], asked: dict[str, Any], key: str) -> Answer:
    start = int(asked.get("nextToken") or 0)
    answer: dict[str, Any] = {"requestId": "1", key: found[start : start + PAGE]}
    return 200, answer | ({"nextToken": str(start + PAGE)} if start + PAGE < len(found) else {})
