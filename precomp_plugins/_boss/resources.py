"""Collections, experiments, coordinate frames and channels: asked for, and made."""

from collections.abc import Mapping
from typing import Any

from intern.resource.boss.resource import (
    BossResource,
    ChannelResource,
    CollectionResource,
    CoordinateFrameResource,
    ExperimentResource,
)

from precomp.errors import InfoNotFoundError, StoreError
from precomp.jsonio import loads
from precomp.retry import Limits, RetryPolicy
from precomp_plugins._boss.model import Channel, Experiment, Frame, Known, parsed
from precomp_plugins._boss.session import Answer, Session

__all__ = ["Resources"]


class Resources:
    """What one channel belongs to.

    Attributes:
        place: the layer's cloudpath.
        names: of collection, experiment and channel.
        channel: what to call the channel in errors.
    """

    def __init__(
        self, place: str, session: Session, policy: RetryPolicy, names: tuple[str, str, str]
    ) -> None:
        self.place, self.names = place, names
        self.channel = f"channel {'/'.join(names)}"
        self._session, self._policy = session, policy

    def known(self) -> Known:
        """Ask for all that is to be known. Raises InfoNotFoundError, naming what is not there."""
        channel = self.get_channel()
        if channel is None:
            raise InfoNotFoundError(self._not_there(self.channel))
        experiment = self.get_experiment()
        if experiment is None:
            raise InfoNotFoundError(self._not_there(f"experiment {'/'.join(self.names[:2])}"))
        frame = self.get_frame(experiment.coord_frame)
        if frame is None:
            raise InfoNotFoundError(self._not_there(f"coordinate frame {experiment.coord_frame}"))
        return Known(channel, experiment, frame)

    def get_collection(self) -> bool:
        """Whether the collection is there."""
        return self._get(CollectionResource(self.names[0]), f"collection {self.names[0]}") is not None

    def get_experiment(self) -> Experiment | None:
        """Return the experiment; None where it is not there."""
        resource = ExperimentResource(self.names[1], self.names[0])
        found = self._get(resource, f"experiment {'/'.join(self.names[:2])}")
        return None if found is None else self._parsed(Experiment, found)

    def get_frame(self, name: str) -> Frame | None:
        """Return a coordinate frame; None where it is not there."""
        found = self._get(CoordinateFrameResource(name), f"coordinate frame {name}")
        return None if found is None else self._parsed(Frame, found)

    def get_channel(self) -> Channel | None:
        """Return the channel; None where it is not there."""
        collection, experiment, channel = self.names
        found = self._get(ChannelResource(channel, collection, experiment), self.channel)
        return None if found is None else self._parsed(Channel, found)

    def make_collection(self) -> None:
        """Create the collection."""
        name = self.names[0]
        self._post(CollectionResource(name), f"collection {name}", {"name": name, "description": ""})

    def make_experiment(self, fields: Mapping[str, Any]) -> None:
        """Create the experiment."""
        collection, name, _ = self.names
        resource = ExperimentResource(name, collection)
        given = {"name": name, "description": "", "collection": collection, **fields}
        self._post(resource, f"experiment {collection}/{name}", given)

    def make_frame(self, name: str, fields: Mapping[str, Any]) -> None:
        """Create a coordinate frame."""
        given = {"name": name, "description": "", **fields}
        self._post(CoordinateFrameResource(name), f"coordinate frame {name}", given)

    def make_channel(self, fields: Mapping[str, Any]) -> None:
        """Create the channel."""
        collection, experiment, name = self.names
        given = {"name": name, "description": "", "sources": [], "related": [], **fields}
        self._post(ChannelResource(name, collection, experiment), self.channel, given)

    def _get(self, resource: BossResource, what: str) -> Any:
        answer = self._ask("read", "GET", resource, what)
        if answer is None:
            return None
        try:
            return loads(answer.body, "the answer", StoreError)
        except StoreError as error:
            raise StoreError(
                f"{self.place}: the {what}: {self._session.login.host} answered something else than JSON "
                f"({answer.told}); correct protocol and host"
            ) from error

    def _post(self, resource: BossResource, what: str, fields: Mapping[str, Any]) -> None:
        try:
            self._ask("created", "POST", resource, what, fields)
        except StoreError:
            # Somebody was quicker, or it was this very request, and its answer was lost.
            if self._ask("read", "GET", resource, what) is None:
                raise

    def _ask(
        self,
        doing: str,
        method: str,
        resource: BossResource,
        what: str,
        fields: Mapping[str, Any] | None = None,
    ) -> Answer | None:
        """Send a request about a resource; None where it is asked for and not there."""
        service = self._session.remote.project_service
        request = service.service.get_request(
            resource, method, "application/json", service.url_prefix, service.auth, json=fields
        )

        def attempt(limits: Limits) -> Answer | None:
            answer = self._session.send(request, limits)
            if answer.status == (201 if method == "POST" else 200):
                return answer
            if method == "GET" and answer.absent:
                return None
            raise self._session.failure(doing, self.place, what, answer)

        return self._policy.call(f"{self.place}: the {what}", attempt)

    def _parsed(self, kind: type[Any], answer: Any) -> Any:
        return parsed(kind, answer, self.place)

    def _not_there(self, what: str) -> str:
        return (
            f"{self.place}: there is no {what} at {self._session.login.host}, so there is no layer here; "
            "check the path and the host, or create it with CloudVolume(path, create=True, "
            "info=CloudVolume.create_new_info(...)).commit_info()"
        )
