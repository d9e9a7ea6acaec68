"""Writes tests/corpora/redaction/clean.jsonl: texts with nothing to redact, many of which look as if they had.

    python -m tests.support.redaction_clean

Half is written by hand, half drawn from templates with a seed: the same file each time. No number was drawn again because it was found.
"""

# ruff: noqa: E501 - a text that is broken is another text
from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

CLEAN: Final = Path(__file__).parents[1] / "corpora" / "redaction" / "clean.jsonl"
HEX: Final = "0123456789abcdef"

WRITTEN: Final = """
How do I reset my password?
The password is required and must have at least 12 characters.
Your password is case-sensitive.
Passwords are hashed with bcrypt before they are stored.
Please enter your password to continue.
I forgot my password again, can you help me to choose a good one?
The password field is empty.
Password: required
Password: string
password: str = Field(min_length=8)
password = getpass.getpass("Password: ")
password = os.environ["DB_PASSWORD"]
password = request.form.get("password")
const password = process.env.DB_PASSWORD;
if (password !== confirmPassword) { return false; }
def check(password: str, hashed: bytes) -> bool: ...
"password": "${DB_PASSWORD}"
"password": "********"
password: <your password here>
password: {{ vault_password }}
DB_PASSWORD=$DB_PASSWORD docker compose up
<input type="password" name="password" placeholder="Password">
The password policy: 12 characters, one digit, one symbol.
Wrong password, 3 attempts left.
password_hash = hash(password)
user.password = password
The API key is missing.
Set the api_key in your settings, then restart.
api_key: YOUR_API_KEY
api_key = "<API_KEY>"
export OPENAI_API_KEY=your-key-here
client = OpenAI(api_key=os.getenv("OPENAI_API_KEY"))
Authorization: Bearer <token>
Authorization: Bearer $TOKEN
Authorization: Bearer YOUR_TOKEN
headers = {"Authorization": f"Bearer {token}"}
Bearer tokens are sent in the Authorization header.
Basic authentication sends the credentials with each request.
The basic idea is simple.
max_tokens: 1024
"usage": {"prompt_tokens": 153, "completion_tokens": 2048, "total_tokens": 2201}
{"token": "Hello", "logprob": -0.31725305, "top_logprobs": []}
token_type: bearer
The tokenizer splits "unbelievable" into 3 tokens.
Each token costs $0.000015.
A token bucket with 100 tokens per second.
The secret of good bread is time.
It is no secret that Paris is expensive.
secretName: my-tls-secret
kubectl create secret generic db-credentials --from-env-file=.env
The secret is to let the dough rest for 24 hours.
The key to success is practice.
primary key: id
sort by key, then by value
cache_key = f"{user_id}:{page}"
for key, value in items.items():
key: value
The monkey ate a turkey near the key lime pie.
session = requests.Session()
Our session is at 10:30 in room 204.
credentials: include
allow_credentials=True
The signature of the function is f(x: int) -> int.
I like cookies: chocolate and oatmeal.
Set a cookie with SameSite=Lax to be safe.
He was at the cafe when the dot com bubble burst.
Look at the dot on the map.
Meet me at noon at the station.
Follow @example on the usual sites.
@app.get("/items/{item_id}")
@dataclass(frozen=True)
git clone git@github.com:example/repo.git
npm install left-pad@1.3.0
npm i @types/node@20.11.5
pip install numpy==1.26.4 scipy==1.17.1
background: url(logo@2x.png)
x @ y is matrix multiplication in Python.
y = W @ x + b
5 apples @ $1.20 each
docker pull example/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
commit 3f786850e387550fdab836ed7e6dc881de23001b
Merge commit 'a94a8fe5' into main
sha1: 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
md5sum d41d8cd98f00b204e9800998ecf8427e  empty.txt
etag: "33a64df551425fcc55e4d42a148795d9f25f89d4"
ISBN 978-3-16-148410-0
ISBN-10: 0-306-40615-2
ISSN 2049-3630
DOI 10.1000/182
doi:10.1038/s41586-020-2649-2
arXiv:1706.03762
EAN 4006381333931
UPC 036000291452
GTIN 00012345600012
Order 1234567 has been shipped.
Order no. 2024-000123-7
Your order number is 4155552671.
Invoice INV-2024-00417 of 12.03.2024 over 1.234,56 EUR
Rechnung 20240312-0042, Kundennummer 104233
Bestellnummer 302-1234567-7654321
Ticket #48213
Case 00123456
Tracking 1Z999AA10123456784
Flight LH 454 leaves at 10:05.
Train ICE 1537, carriage 23, seat 45
PNR X7YQ2P
Room 1408, 14th floor
Version 1.2.3.4 is out.
Chrome/120.0.6099.109 Safari/537.36
v4.18.0.2
firmware 2.0.14.7
Python 3.11.7 and Node 20.11.0
openssl 3.0.13 30 Jan 2024
Linux 6.1.0-18-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1
2024-05-17T12:34:56.789Z
2024-05-17 12:34:56,789 INFO started in 1234 ms
17.05.2024, 12:34 Uhr
05/17/2024
20240517123456
1715949296
1715949296789
1715949296.789012
Thu, 17 May 2024 12:34:56 +0200
1999-12-31 to 2000-01-01
Monday to Friday 09:00-17:30
from 2019-2023 sales rose by 14.5%
550e8400-e29b-41d4-a716-446655440000
request_id=7c9e6679-7425-40de-944b-e07fc1f90ae7 status=200
trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7
chatcmpl-9QxYzAbCdEfGhIjKlMnOpQrStUv
resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b
localhost:8080
127.0.0.1:5432
http://10.0.0.12:9090/metrics
192.168.1.1 is the router.
192.0.2.1 and 198.51.100.7 are for documentation.
fe80::1ff:fe23:4567:890a
::1
2001:db8::1
std::vector<int> v;
Foo::Bar::baz()
00:1A:2B:3C:4D:5E
255.255.255.0
0.0.0.0/0
10.0.0.0/8
Listen on port 50051, admin on 9901.
http://localhost:8080/path?x=1&y=2
https://example.com/a/b/c?id=12345&page=2#top
https://example.com:8443/@user
https://www.youtube.com/watch?v=dQw4w9WgXcQ
https://docs.python.org/3/library/re.html
postgres://localhost:5432/app
redis://cache:6379/0
s3://bucket/path/2024/05/17/part-00000.parquet
/usr/lib/python3/dist-packages/numpy/core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so
C:\\Users\\kim\\table.txt
$1,234,567.89
1.234.567,89 EUR
12 345 678 habitants
The population is 83 294 633.
1 000 000 000 is a billion.
3.14159265358979323846
2.718281828459045
6.02214076e23
1.6180339887498948482
299792458 m/s
0.1 + 0.2 = 0.30000000000000004
2**10 = 1024 and 2**64 = 18446744073709551616
2 * 3 * 4 * 5 = 120
123456789 * 987654321 = 121932631112635269
f(x) = x^2 + 2x + 1
1 1 2 3 5 8 13 21 34 55 89 144 233 377 610
2 3 5 7 11 13 17 19 23 29 31 37 41 43 47
[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
[0.123, -0.456, 0.789, 1.234, -5.678]
1010101010101010
0xDEADBEEF 0x7fff5fbff8c0
#ff8800 and rgba(255, 136, 0, 0.5)
48.8584, 2.2945
52.520008, 13.404954
40°26'46"N 79°58'56"W
lat=-33.8567844&lng=151.2152967
width: 1920px; height: 1080px
1920x1080 at 144 Hz
EUR/USD 1.0823, +0.34%
BTC 64,123.50
H2O, CO2, C6H12O6
Boeing 737-800, Airbus A320-200
iPhone 15 Pro, Galaxy S24
RFC 9110, section 15.5.5
ISO 8601, ISO 27001:2022
DIN EN 60529
Article 6(1)(f) GDPR
§ 823 BGB
Psalm 23:4
Romans 8:28-30
42.195 km in 2:01:09
Score 3:2 (1:1)
90/60 mmHg
5'11", 180 lb
1/2 cup, 350 °F, 45 min
call the function with 3 arguments
call 911 in an emergency
the phone has 256 GB and a 5000 mAh battery
Phone model SM-G998B
tel aviv has 460613 inhabitants
Telefon und Internet sind ausgefallen.
A card game with 52 cards
card 7 of 12
My credit card was declined, what can I do?
Karte 1:25000
The social security system was founded in 1935.
What is an IBAN and where do I find it?
Where is my SSN used?
DE-10115 Berlin
SW1A 1AA
75008 Paris
90210-1234
ZIP 10001
20095 Hamburg, Speicherstadt 1
AB12 CDE
M-AB 1234
The answer is 42.
Hello, how are you?
Wie geht es dir heute?
Quelle heure est-il ?
¿Dónde está la biblioteca?
Qual é a capital do Brasil?
今日はいい天気ですね。
你好，请帮我写一封信。
Привет, как дела?
मुझे एक कहानी सुनाओ।
مرحبا، كيف حالك؟
Écris un poème sur la mer.
Schreibe ein Gedicht über den Herbst in 4 Strophen.
for i in range(1000000):
assert len(data) == 4096
SELECT * FROM users WHERE id = 42 LIMIT 10;
INSERT INTO t (a, b) VALUES (1, 2), (3, 4);
{"id": 1, "name": "widget", "price": 9.99, "tags": ["a", "b"]}
data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1715949296,"model":"gpt-5","choices":[]}
data: [DONE]
<svg viewBox="0 0 24 24"><path d="M12 2L2 7l10 5 10-5-10-5z"/></svg>
def sk_learn_pipeline(): return make_pipeline()
sk-learn-pipeline-example
risk-averse-investors-like-bonds
task-management-and-planning-tools
the ask-me-anything-session-of-2024
pk_id, fk_user_id
SG.pdf is the file for Singapore
AIzawa is a name
hf_hub_download(repo_id="example/model", filename="config.json")
npm_config_registry=http://localhost:4873
github_pat is a kind of token of GitHub
AKIA is how ids of AWS keys begin
-----BEGIN CERTIFICATE-----
-----BEGIN PUBLIC KEY-----
ssh-keygen -t ed25519
ls -la | grep token
sudo chmod 600 ~/.ssh/config
[email] and [phone] were redacted before.
See [1], [2] and [key concepts].
| metric | value |\\n|---|---|\\n| p95 | 1234 ms |
* 2024: 12\\n* 2023: 10
```python\\nprint(sum(range(100)))\\n```
**Note:** 3 of 4 tests passed.
100% of 50% is 50%
%20 is a blank in a URL
&nbsp; and &amp; are entities
\\u00e9 is é
ünïcödé ＡＢＣ １２３
5 – 10 minutes
x = a * b * c
Tr. 4.5.6.7.8
PO-2024-1187 / line 3
SKU 8842-113-09
Model number 5901234123457
serial 0042-1177-3391
batch L2024031207
Los-Nr. 884213
Lottery: 4 8 15 16 23 42
Top 10: 9.8, 9.7, 9.7, 9.6
GPA 3.85/4.00
IQ 100 +- 15
p = 0.0312, n = 1204, F(2, 117) = 4.31
R² = 0.874
chi2(3) = 7.81
""".strip("\n").split("\n")


def _some(rng: random.Random, letters: str, n: int) -> str:
    return "".join(rng.choice(letters) for _ in range(n))


def _n(rng: random.Random, size: int) -> str:
    return str(rng.randrange(10 ** (size - 1), 10**size))


DRAWN: Final[tuple[Callable[[random.Random], str], ...]] = (
    lambda r: f"Order {_n(r, 7)} was sent on 2025-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}.",
    lambda r: f"order_id={_n(r, 10)} status=paid",
    lambda r: f"Invoice {_n(r, 8)}-{_n(r, 3)}, total {_n(r, 3)}.{_n(r, 2)} EUR",
    lambda r: f"request {uuid.UUID(int=r.getrandbits(128), version=4)} took {_n(r, 3)} ms",
    lambda r: f"commit {_some(r, HEX, 40)} by kim",
    lambda r: f"{_some(r, HEX, 64)}  release.tar.gz",
    lambda r: f"digest sha512:{_some(r, HEX, 128)}",
    lambda r: f"data:image/png;base64,{base64.b64encode(r.randbytes(300)).decode()}",
    lambda r: f"![chart](data:image/jpeg;base64,{base64.b64encode(r.randbytes(150)).decode()})",
    lambda r: f"embedding = [{', '.join(f'{r.uniform(-1, 1):.8f}' for _ in range(24))}]",
    lambda r: "\n".join(f"{i},{r.uniform(0, 1000):.2f},{r.randrange(10**6)}" for i in range(12)),
    lambda r: f"ts={r.randrange(1_600_000_000_000, 1_800_000_000_000)} level=info latency={r.random():.6f}",
    lambda r: (
        f"The city has {r.randrange(1, 30)},{_n(r, 3)},{_n(r, 3)} inhabitants and lies at {r.uniform(-90, 90):.6f}, {r.uniform(-180, 180):.6f}."
    ),
    lambda r: f"version {r.randrange(20)}.{r.randrange(20)}.{r.randrange(300)}.{r.randrange(300)}",
    lambda r: (
        f"listening on 0.0.0.0:{r.randrange(1024, 65535)}, peer 10.{r.randrange(255)}.{r.randrange(255)}.{r.randrange(255)}:{_n(r, 5)}"
    ),
    lambda r: f"def f_{_n(r, 4)}(x): return x * {_n(r, 6)} % {_n(r, 9)}",
    lambda r: f"{_n(r, 9)} x {_n(r, 8)} is about 10^17",
    lambda r: f"ISBN 978-{r.randrange(10)}-{_n(r, 4)}-{_n(r, 4)}-{r.randrange(10)}",
    lambda r: f"Article no. {_n(r, 5)}-{_n(r, 4)}, EAN 40{_n(r, 11)}",
    lambda r: f"[{r.randrange(10**5)}, {r.randrange(10**5)}, {r.randrange(10**5)}, {r.randrange(10**5)}, {r.randrange(10**5)}]",
    lambda r: f"span_id={_some(r, HEX, 16)} trace_id={_some(r, HEX, 32)}",
    lambda r: (
        f"Schedule: {r.randrange(8, 12):02d}:{r.randrange(60):02d}-{r.randrange(13, 18)}:{r.randrange(60):02d}, hall {r.randrange(9)}"
    ),
    lambda r: f"call_{_some(r, string.ascii_letters + string.digits, 24)} returned 3 rows",
    lambda r: f"https://example.com/items/{_n(r, 12)}?ref={_some(r, string.ascii_lowercase, 6)}&v={_n(r, 4)}",
    lambda r: f"step {_n(r, 5)} loss {r.uniform(0, 4):.4f} lr {r.uniform(1e-6, 1e-3):.2e} tokens {_n(r, 9)}",
    lambda r: f'W/"{_some(r, HEX, 20)}" max-age={_n(r, 6)}',
)


def clean(seed: int = 21) -> Iterator[str]:
    """All texts, in order."""
    yield from (text.replace("\\n", "\n") for text in WRITTEN)
    rng = random.Random(seed)
    for _ in range(8):
        for draw in DRAWN:
            yield draw(rng)


if __name__ == "__main__":
    CLEAN.parent.mkdir(parents=True, exist_ok=True)
    CLEAN.write_text("".join(f"{json.dumps({'text': text}, ensure_ascii=False)}\n" for text in clean()), encoding="utf-8")
