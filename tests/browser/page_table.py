"""Every page of Stager in each of its states. `test_every_page.py` checks them all; `scripts/screenshots`
takes their pictures.

A new page or state is a new row. `page_stage.furnish` prepares what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageRow:
    """A page in a state.

    Args:
        name: names the state in tests and pictures.
        path: with `{live}` and so on for ids of `PageStage.previews`, and names of `PageStage.values`.
        user: who is signed in; empty for nobody.
        status: the HTTP status.
        opens: a selector of something to click first, such as a menu.
    """

    name: str
    path: str
    user: str = "ann"
    status: int = 200
    opens: str = ""


TABLE = (
    PageRow("dashboard", "/"),
    PageRow("dashboard-menu", "/", opens=".menu summary"),
    PageRow("dashboard-developer", "/", "dev"),
    PageRow("dashboard-viewer", "/", "vera"),
    PageRow("dashboard-search", "/?q=checkout"),
    PageRow("dashboard-nothing", "/?q=nothing"),
    PageRow("dashboard-failed", "/?show=failed"),
    PageRow("dashboard-sorted", "/?show=live&sort=memory"),
    PageRow("dashboard-approval", "/?show=approval"),
    PageRow("dashboard-machine", "/", opens=".machine summary"),
    PageRow("dashboard-page", "/?limit=2"),
    PageRow("preview-live", "/previews/{live}"),
    PageRow("preview-pictures", "/previews/{live}", opens="#pictures details summary"),
    PageRow("preview-no-pictures", "/previews/{services}"),
    PageRow("preview-live-viewer", "/previews/{live}", "vera"),
    PageRow("preview-failed", "/previews/{failed}"),
    PageRow("preview-crashed", "/previews/{crashed}"),
    PageRow("preview-building", "/previews/{building}"),
    PageRow("preview-asleep", "/previews/{asleep}"),
    PageRow("preview-services", "/previews/{services}"),
    PageRow("preview-volumes", "/previews/{services}?volumes=true"),
    PageRow("deliveries", "/deliveries"),
    PageRow("deliveries-nothing", "/deliveries?q=nothing&effect=failed"),
    PageRow("delivery", "/deliveries/d-0"),
    PageRow("why", "/why"),
    PageRow("why-answer", "/why?target=acme/shop%237", "vera"),
    PageRow("why-invalid", "/why?target=shop", status=400),
    PageRow("launch", "/new"),
    PageRow("launch-chosen", "/new?app=site&branch=checkout"),
    PageRow("launch-error", "/new?app=site&branch=refs/pull/3/head"),
    PageRow("launch-viewer", "/new", "vera"),
    PageRow("people", "/people"),
    PageRow("audit", "/audit"),
    PageRow("audit-nothing", "/audit?q=nothing-like-this"),
    PageRow("settings", "/settings"),
    PageRow("account", "/account"),
    PageRow("setup", "/setup"),
    PageRow("setup-github", "/setup/github"),
    PageRow("setup-application", "/setup/application"),
    PageRow("setup-application-github", "/setup/application?source=github"),
    PageRow("setup-first-preview", "/setup/application/shop"),
    PageRow("problem", "/previews/none", status=404),
    PageRow("forbidden", "/deliveries", "vera", status=403),
    PageRow("running", "/", user=""),
    PageRow("sign-in", "/login", user=""),
    PageRow("sign-in-link", "/login/link?secret=x", user=""),
)
