"""A fake vendor on a loopback port that plays a case of the contract suite.

All that `Upstream` can do to an answer (gates, breaks, silence) can be done to any of the case's exchanges.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from tests.fakes.answers import Answer
from tests.fakes.upstream import Behaviour, Recorded, Upstream
from tests.providers.contract import Case, Exchange, Reply

#: Lists of voices: the proxy asks for them if a voice is unknown, and does without if there are none.
_LISTS = ("/voices", "/voices/list", "/models")


class VendorServer(Upstream):
    """``url`` is the deployment's ``api_base``."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}{case.base_path}"
        self._plays: dict[Exchange, Behaviour] = {}
        self._counts: Counter[Exchange] = Counter()
        #: What was sent, in order.
        self.replies: list[Reply] = []

    def play(self, at: Exchange | None = None, reply: Reply | None = None, **settings: Any) -> None:
        """Until ``reset``: treat an exchange (the main one) so, and perhaps answer something else."""
        behaviour = Behaviour(**settings)
        if reply is not None:
            behaviour = replace(behaviour, answer=lambda _: self._sent(reply))
        self._plays[at or self.case.main] = behaviour

    def behaviour(self, request: Recorded) -> Behaviour:
        exchange = next((one for one in self.case.exchanges if one.fits(request)), None)
        if exchange is None:
            return Behaviour(answer=self._unknown, as_openai=False)
        played = self._plays.get(exchange) or Behaviour()
        answer = played.answer or (lambda request: self._sent(self._reply(exchange, request)))
        return replace(played, answer=answer, as_openai=False)

    def reset(self) -> None:
        super().reset()
        self._plays.clear()
        self._counts.clear()
        self.replies.clear()

    def of(self, exchange: Exchange) -> list[Recorded]:
        """The requests that were for it."""
        return [request for request in self.requests if exchange.fits(request)]

    @property
    def asked(self) -> Recorded:
        """The newest request for the main exchange."""
        found = self.of(self.case.main)
        assert found, f"nothing came for {self.case.main.path}: {[request.target for request in self.requests]}"
        return found[-1]

    def _reply(self, exchange: Exchange, request: Recorded) -> Reply:
        if callable(exchange.reply):
            return exchange.reply(request)
        if isinstance(exchange.reply, Reply):
            return exchange.reply
        number = min(self._counts[exchange], len(exchange.reply) - 1)
        self._counts[exchange] += 1
        return exchange.reply[number]

    def _sent(self, reply: Reply) -> Answer:
        self.replies.append(reply)
        return reply.answer()

    def _unknown(self, request: Recorded) -> Answer:
        if request.method == "GET" and request.path.endswith(_LISTS):
            return Reply.json({"error": "no such path"}, status=404).answer()
        request.broken = f"no exchange of {self.case.id} is for {request.method} {request.path}"
        return Reply.json({"error": "no such path"}, status=404).answer()
