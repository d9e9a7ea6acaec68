// docs/hash.md in another language, from its text alone: XXH3-64 (seed 0) and everything that is built on it. No packages.
//
//   node vectors.mjs FILE     checks every vector of a file such as docs/hash-vectors.json; "-" reads them from standard input
//
// Prints how many of each kind agree; names each that does not, and then exits with 1.

import { readFileSync } from "node:fs";

// ------------------------------------------------------------------------------------------------------------------ XXH3, 64 bits
const M64 = (1n << 64n) - 1n;
const P32 = [0x9e3779b1n, 0x85ebca77n, 0xc2b2ae3dn];
const P64 = [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n];
const MX1 = 0x165667919e3779f9n;
const MX2 = 0x9fb21c651e98df25n;
const SECRET = Buffer.from(
  "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a26" +
    "4c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d978" +
    "7364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb" +
    "4b407e",
  "hex",
);

const u32 = (bytes, at) => BigInt(bytes.readUInt32LE(at));
const u64 = (bytes, at) => bytes.readBigUInt64LE(at);
const secret = (at) => u64(SECRET, at);
const rotl = (x, n) => ((x << n) | (x >> (64n - n))) & M64;
const fold = (a, b) => {
  const product = a * b;
  return (product & M64) ^ (product >> 64n);
};

function swap64(x) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(x);
  return bytes.readBigUInt64BE();
}

function avalanche(x) {
  x ^= x >> 37n;
  x = (x * MX1) & M64;
  return x ^ (x >> 32n);
}

function avalanche64(x) {
  x ^= x >> 33n;
  x = (x * P64[1]) & M64;
  x ^= x >> 29n;
  x = (x * P64[2]) & M64;
  return x ^ (x >> 32n);
}

function upTo16(input) {
  const size = input.length;
  const length = BigInt(size);
  if (size > 8) {
    const low = u64(input, 0) ^ secret(24) ^ secret(32);
    const high = u64(input, size - 8) ^ secret(40) ^ secret(48);
    return avalanche((length + swap64(low) + high + fold(low, high)) & M64);
  }
  if (size > 3) {
    let x = ((u32(input, 0) << 32n) + u32(input, size - 4)) ^ secret(8) ^ secret(16);
    x ^= rotl(x, 49n) ^ rotl(x, 24n);
    x = (x * MX2) & M64;
    x ^= (x >> 35n) + length;
    x = (x * MX2) & M64;
    return x ^ (x >> 28n);
  }
  if (size > 0) {
    const [first, middle, last] = [input[0], input[size >> 1], input[size - 1]].map(BigInt);
    const word = (first << 16n) | (middle << 24n) | last | (length << 8n);
    return avalanche64(word ^ u32(SECRET, 0) ^ u32(SECRET, 4));
  }
  return avalanche64(secret(56) ^ secret(64));
}

const mix16 = (input, at, key) => fold(u64(input, at) ^ secret(key), u64(input, at + 8) ^ secret(key + 8));

function upTo240(input) {
  const size = input.length;
  let sum = BigInt(size) * P64[0];
  if (size <= 128) {
    for (let pair = (size - 1) >> 5; pair >= 0; pair--) {
      sum += mix16(input, 16 * pair, 32 * pair) + mix16(input, size - 16 * (pair + 1), 32 * pair + 16);
    }
    return avalanche(sum & M64);
  }
  for (let round = 0; round < 8; round++) sum += mix16(input, 16 * round, 16 * round);
  sum = avalanche(sum & M64);
  for (let round = 8; round < size >> 4; round++) sum += mix16(input, 16 * round, 16 * (round - 8) + 3);
  return avalanche((sum + mix16(input, size - 16, 119)) & M64);
}

function accumulate(lanes, input, at, key) {
  for (let lane = 0; lane < 8; lane++) {
    const value = u64(input, at + 8 * lane);
    const keyed = value ^ secret(key + 8 * lane);
    lanes[lane ^ 1] = (lanes[lane ^ 1] + value) & M64;
    lanes[lane] = (lanes[lane] + (keyed & 0xffffffffn) * (keyed >> 32n)) & M64;
  }
}

function longer(input) {
  const size = input.length;
  const lanes = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]];
  const stripes = (size - 1) >> 6;
  for (let stripe = 0; stripe < stripes; stripe++) {
    accumulate(lanes, input, 64 * stripe, 8 * (stripe % 16));
    if (stripe % 16 === 15) {
      for (let lane = 0; lane < 8; lane++) {
        lanes[lane] = ((lanes[lane] ^ (lanes[lane] >> 47n) ^ secret(128 + 8 * lane)) * P32[0]) & M64;
      }
    }
  }
  accumulate(lanes, input, size - 64, 121);
  let sum = BigInt(size) * P64[0];
  for (let lane = 0; lane < 8; lane += 2) sum += fold(lanes[lane] ^ secret(11 + 8 * lane), lanes[lane + 1] ^ secret(19 + 8 * lane));
  return avalanche(sum & M64);
}

function xxh3(input) {
  return input.length <= 16 ? upTo16(input) : input.length <= 240 ? upTo240(input) : longer(input);
}

// -------------------------------------------------------------------------------------------------------------------- the document
const RING = 2 ** 32;
const hash = (prefix, id) => xxh3(Buffer.from(prefix + id, "utf8"));
const point = (prefix, id) => Number(hash(prefix, id) >> 32n);

/** To the nearest whole number; a half goes to the even one. */
function round(x) {
  const whole = Math.floor(x);
  const rest = x - whole;
  return rest > 0.5 || (rest === 0.5 && whole % 2) ? whole + 1 : whole;
}

function slotOf(slots, where) {
  let end = 0;
  for (const [slot, share] of slots) {
    const begin = end;
    end = Math.min(end + share, 1);
    if (round(begin * RING) <= where && where < round(end * RING)) return slot;
  }
  return null;
}

function limits(share, holdback) {
  const canary_below = Math.min(round(share * RING), RING - round(holdback * RING));
  return { canary_below, control_from: Math.max(RING - round(share * RING), canary_below) };
}

function memberOf(members, id) {
  let [best, picked] = [-1, null];
  for (const [cluster, weight] of members) {
    const logarithm = Math.log((Number(hash(`#pool/${cluster}/`, id)) + 0.5) / 2 ** 64);
    const score = logarithm === 0 ? Infinity : -weight / logarithm;
    if (score > best) [best, picked] = [score, cluster];
  }
  return picked;
}

/** What each kind of vector says beside what it is given. */
const KINDS = {
  xxh3_64: ({ input }) => ({ hash: hash("", input).toString(16).padStart(16, "0") }),
  points: ({ layer, salt, id }) => ({ point: point(`${layer}/${salt}/`, id) }),
  cohorts: ({ layer, salt, cohort, share, id }) => {
    const where = point(`${layer}/${salt}#${cohort}/`, id);
    return { point: where, in: where < round(share * RING) };
  },
  slots: ({ layer, slots, id }) => {
    const where = point(`${layer}#/`, id);
    return { point: where, slot: slotOf(slots, where) };
  },
  arms: ({ layer, salt, share, holdback, id }) => {
    const found = limits(share, holdback);
    const where = point(`${layer}/${salt}/`, id);
    return { ...found, arm: where < found.canary_below ? "canary" : where >= found.control_from ? "control" : "rest" };
  },
  pools: ({ members, id }) => ({ cluster: memberOf(members, id) }),
};

const file = process.argv[2] ?? "-";
const vectors = JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8"));
const agreed = {};
for (const [kind, rows] of Object.entries(vectors)) {
  agreed[kind] = 0;
  for (const row of rows) {
    const wrong = Object.entries(KINDS[kind](row)).filter(([key, value]) => row[key] !== value);
    if (wrong.length) {
      process.exitCode = 1;
      console.error(`${kind}: ${JSON.stringify(row)} but here ${JSON.stringify(Object.fromEntries(wrong))}`);
    } else {
      agreed[kind] += 1;
    }
  }
}
console.log(JSON.stringify(agreed));
