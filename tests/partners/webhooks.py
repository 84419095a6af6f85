"""Verifies requests that the hub sent, with the standardwebhooks package.

    webhooks.py FOLDER

Each must be verified, and must not be once a byte of it is another (the control). The published example must be signed as
published. Prints "N passed, N failed".
"""

import datetime
import json
import pathlib
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

passed = failed = 0


def tell(name, good):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(f"{'ok  ' if good else 'FAIL'} {name}")


def verified(secret, body, headers):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


files = sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
for path in files:
    sent = json.loads(path.read_text())
    secret, body, headers = sent["secret"], sent["body"], sent["headers"]
    tell(f"{path.name} is verified", verified(secret, body, headers))
    tell(f"{path.name}, altered, is not", not verified(secret, body.replace("case", "cash", 1), headers))
    other = {**headers, "webhook-id": headers["webhook-id"] + "0"}
    tell(f"{path.name} under another id is not", not verified(secret, body, other))
example = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
    "msg_p5jXN8AQM9LwM0D4loKWxJek",
    datetime.datetime.fromtimestamp(1614265330, tz=datetime.timezone.utc),
    '{"test": 2432232314}',
)
tell("the published example", example == "v1,5tatmeHZX9+MEe0BLpRnAkuTnprszSui32iw1yJCu8s=")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not files else 0)
