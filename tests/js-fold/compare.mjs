// Compares the fold with what the product made of the same documents, heads and state.
//
// In: a folder of `NAME.automerge` and `NAME.json`. With `rows` after it each test of a row is told by its name, and every
// row of docs/rows.md that the fold decides and every step of docs/documents.md must be there. Out: how many are the same.
import { readFileSync, readdirSync } from "node:fs";
import * as A from "@automerge/automerge";
import { fold } from "./fold.mjs";

const [folder, of] = process.argv.slice(2);

// One form for what is null, missing or named in another order.
function canonical(value) {
  if (Array.isArray(value)) return value.map(canonical);
  if (!value || typeof value !== "object") return value ?? null;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, canonical(value[key])]));
}

// What differs between the fold and the product, in words; none where both say the same.
function differences(name) {
  const expected = JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8"));
  const doc = A.load(readFileSync(`${folder}/${name}.automerge`));
  const state = fold(doc, expected.kind);
  for (const list of ["superseded", "void", "unread"]) for (const view of [state, expected.state]) view?.[list].sort();
  const text = (view, key) => JSON.stringify(canonical(view?.[key]));
  const keys = new Set([...Object.keys(state ?? {}), ...Object.keys(expected.state ?? {})]);
  const wrong = [...keys].filter((key) => text(state, key) !== text(expected.state, key))
    .map((key) => `${key}: ${text(state, key)}, not ${text(expected.state, key)}`);
  if ((state === null) !== (expected.state === null)) wrong.push(`${state ? "a" : "no"} state`);
  if (JSON.stringify(A.getHeads(doc).sort()) !== JSON.stringify(expected.heads)) wrong.push("heads");
  return wrong;
}

// The rows that must be there: `row 12`, `step 13b`.
function wanted() {
  const page = (name) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8");
  const rows = page("rows.md").matchAll(/^\| (\d+) \|.*`common\/tests\//gm);
  const steps = page("documents.md").matchAll(/^\| (\d+b?) \|/gm);
  return [...[...rows].map((row) => `row ${row[1]}`), ...[...steps].map((step) => `step ${step[1]}`)];
}

// The row of a test and what it says: `row_12_released_only_it_goes` gives `row 12` and `released only it goes`.
function told(test) {
  const [, kind, number, sentence] = /^(row|step)_(\d+b?)_(.*)$/.exec(test);
  return { kind, row: `${kind} ${number}`, number: parseInt(number, 10), sentence: sentence.replaceAll("_", " ") };
}

function byRow(names) {
  const tests = new Map();
  for (const name of names) {
    const test = name.replace(/-\d+$/, "");
    tests.set(test, [...(tests.get(test) ?? []), name]);
  }
  const found = [...tests].map(([test, documents]) => ({ ...told(test), documents }));
  found.sort((a, b) => a.kind.localeCompare(b.kind) || a.number - b.number || a.row.localeCompare(b.row));
  let bad = 0;
  for (const { row, sentence, documents } of found) {
    const wrong = documents.flatMap((name) => differences(name));
    bad += wrong.length ? 1 : 0;
    const outcome = wrong.length ? `NOT the same: ${wrong.join("; ")}` : `the same, ${documents.length} documents`;
    console.log(`${row}: ${sentence}: ${outcome}`);
  }
  const expected = wanted();
  const missing = expected.filter((row) => !found.some((test) => test.row === row));
  for (const row of missing) console.log(`${row}: there is no document of it`);
  console.log(`${found.length - bad} the same, ${bad} not, ${missing.length} of ${expected.length} rows missing`);
  return bad === 0 && missing.length === 0 && expected.length > 0;
}

function all(names) {
  const wrong = names.map((name) => [name, differences(name)]).filter(([, found]) => found.length);
  for (const [name, found] of wrong) console.log(`${name}: ${found.join("; ")}`);
  console.log(`${names.length - wrong.length} the same, ${wrong.length} not`);
  return wrong.length === 0 && names.length > 0;
}

const files = readdirSync(folder).filter((name) => name.endsWith(".automerge")).sort();
const names = files.map((name) => name.slice(0, -".automerge".length));
process.exit((of === "rows" ? byRow(names) : all(names)) ? 0 : 1);
