"""The parts that report the state of previews in pull requests, composed."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.pictures.links import PictureLinks
from stager.control.ports import Ports
from stager.control.reporting.commit_status import CommitStatusSink
from stager.control.reporting.deployments import DeploymentSink
from stager.control.reporting.pr_comment import PullRequestCommentSink
from stager.control.reporting.reporter import Reporter, Sink
from stager.control.routing.urls import Urls
from stager.domain.application import Applications


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is reported.

    Args:
        installation: id that distinguishes our comments from those of another Stager.
        comments: whether pull requests get a comment.
        removes_comments: whether the comment is removed with the preview.
        deployments: whether the forge's deployments are kept up to date.
        statuses: whether commits get a status.
    """

    installation: str = "installation"
    comments: bool = False
    removes_comments: bool = False
    deployments: bool = False
    statuses: bool = False


class Reporting:
    """Reports in pull requests. `reporter` is None if nothing is reported."""

    def __init__(
        self,
        ports: Ports,
        urls: Urls,
        applications: Applications,
        options: ReportOptions,
        picture_links: PictureLinks,
    ) -> None:
        parts = (ports.store, ports.forges, urls)
        sinks: dict[str, Sink] = {}
        if options.comments:
            sinks["comment"] = PullRequestCommentSink(
                ports,
                urls,
                applications,
                picture_links,
                options.installation,
                removes=options.removes_comments,
            )
        if options.deployments:
            sinks["deployment"] = DeploymentSink(*parts)
        if options.statuses:
            sinks["status"] = CommitStatusSink(*parts)
        self.reporter = Reporter(sinks, ports.forges) if sinks else None

    async def close(self) -> None:
        """Cancel reports that run; they are repeated after the next start."""
        if self.reporter:
            await self.reporter.close()
