"""The MCP server: registers the tools with the `mcp` package and turns results and errors into its types."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Final, TypeAlias

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from stager.domain.errors import StagerError
from stager.version import __version__
from stager.web import problems
from stager.web.mcp import acting, reading
from stager.web.mcp.caller import current_caller

INSTRUCTIONS: Final = (
    "Stager runs a preview of each branch and pull request at its own URL. After a push or a launch, call"
    " wait_for_preview; if it failed, preview_failure names the cause and the change that mends it."
)

Result: TypeAlias = BaseModel
Function: TypeAlias = Callable[..., Coroutine[object, object, Result]]
Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"


@dataclass(frozen=True, slots=True)
class Kind:
    """What clients learn about a tool, so that they ask a person before it is called.

    Args:
        changes: whether it changes something.
        destroys: whether what it changes may be lost.
    """

    changes: bool = False
    destroys: bool = False

    @property
    def hints(self) -> ToolAnnotations:
        return ToolAnnotations(
            read_only_hint=not self.changes, destructive_hint=self.destroys, open_world_hint=False
        )


_READS, _CHANGES, _DESTROYS = Kind(), Kind(changes=True), Kind(changes=True, destroys=True)

TOOLS: Final[tuple[tuple[Function, Kind], ...]] = (
    (reading.list_previews, _READS),
    (reading.show_preview, _READS),
    (reading.wait_for_preview, _READS),
    (reading.preview_failure, _READS),
    (reading.preview_logs, _READS),
    (reading.why_no_preview, _READS),
    (acting.launch_preview, _CHANGES),
    (acting.run_command, _DESTROYS),
    (acting.share_preview, _CHANGES),
    (acting.reset_preview, _DESTROYS),
    (acting.kill_preview, _DESTROYS),
)


class McpServer(MCPServer[None]):
    """An ASGI application that serves the tools, each request on its own."""

    def __init__(self) -> None:
        super().__init__(
            "stager",
            title="Stager",
            version=__version__,
            instructions=INSTRUCTIONS,
            tools=[_tool(function, kind) for function, kind in TOOLS],
            subscriptions=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        manager = StreamableHTTPSessionManager(self._lowlevel_server, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, receive, send)


def _tool(function: Function, kind: Kind) -> Tool:
    tool = Tool.from_function(_called(function), annotations=kind.hints, structured_output=False)
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"  # a misspelt argument must not be ignored
    arguments.model_rebuild(force=True)
    tool.parameters = _without_titles(arguments.model_json_schema())
    return tool


def _without_titles(schema: dict[str, Json]) -> dict[str, Json]:
    """The schema without the titles that Pydantic makes of names: clients pay for each byte of the list."""
    properties = schema.get("properties")
    for each in properties.values() if isinstance(properties, dict) else ():
        if isinstance(each, dict):
            each.pop("title", None)
    return {name: value for name, value in schema.items() if name != "title"}


def _called(function: Function) -> Callable[..., Awaitable[CallToolResult]]:
    @wraps(function)
    async def call(**arguments: object) -> CallToolResult:
        try:
            return _result(await current_caller().guard(function(**arguments)))
        except StagerError as error:
            problem = problems.problem_of(error).model_dump_json(exclude_defaults=True)
            return _content(problem, None, is_error=True)

    return call


def _result(result: Result) -> CallToolResult:
    return _content(result.model_dump_json(), result.model_dump(mode="json"))


def _content(text: str, structured: dict[str, Json] | None, *, is_error: bool = False) -> CallToolResult:
    content = TextContent(type="text", text=text)
    return CallToolResult(content=[content], structured_content=structured, is_error=is_error)
