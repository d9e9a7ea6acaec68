"""kill -9 of the feedback service under load: what was acknowledged is in its log, once."""

from __future__ import annotations

import http.client
import random
import threading
import time
from pathlib import Path

import orjson

from tests.support.feedback import Service, token

KILLS = 20
POSTERS = 6


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """20 kills at random moments while 6 clients post: each 202 is in the log, none twice; what was not acknowledged is sent again."""
    dice = random.Random(7)
    service = Service(tmp_path)
    acknowledged: list[list[str]] = [[] for _ in range(POSTERS)]
    cut: list[int] = [0] * POSTERS
    stop = threading.Event()

    def post(poster: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        number = 0
        while not stop.is_set():
            unit = f"{poster:08x}{number:08x}"
            body = orjson.dumps({"kind": "thumbs_up", "id": f"n{number}", "token": token(int(unit, 16))})
            try:
                connection.request("POST", "/v1/feedback", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                # Nobody knows whether it was kept: another answer is spoken of next, so that this one may be there or not.
                cut[poster] += 1
                connection.close()
            else:
                assert answer.status == 202
                acknowledged[poster].append(unit)
            number += 1
        connection.close()

    posters = [threading.Thread(target=post, args=(poster,)) for poster in range(POSTERS)]
    spare = [service.spawn()]
    try:
        for poster in posters:
            poster.start()
        for _ in range(KILLS):
            # The next one has loaded its code already: a start costs more than a life here.
            service.adopt(spare.pop())
            spare.append(service.spawn())
            before = sum(map(len, acknowledged))
            assert service.line() == b"serves"
            deadline = time.monotonic() + 60
            while sum(map(len, acknowledged)) == before and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(dice.uniform(0, 0.15))
            service.kill()
        service.adopt(spare.pop())
        assert service.line() == b"serves"
        stop.set()
        for poster in posters:
            poster.join()
        log = [line.token.unit for _, line in service.log() if line.token is not None]
    finally:
        stop.set()
        for process in spare:
            service.adopt(process)
            service.kill()
        service.close()
    kept = set(log)
    promised = {unit for units in acknowledged for unit in units}
    print(f"{len(promised)} acknowledged, {len(log)} in the log, {sum(cut)} posts cut off by {KILLS} kills")
    assert promised - kept == set()
    assert len(log) == len(kept)
    assert len(kept - promised) <= sum(cut)
    assert len(promised) > KILLS
    assert sum(cut) > KILLS, "or nobody was in the middle of something"
