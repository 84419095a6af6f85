// Asks the JSON schema of CloudEvents 1.0 about each event that the hub's reader was given: the schema as the SDK of the
// CloudEvents project for JavaScript holds it, compiled.
//
//   node cloudevents.cjs FILE SDK
//
// What the hub takes must be an event by the schema; what is none by the schema the hub must not take. The hub asks for
// more than the schema in places; those are told. Prints "N passed, N failed".
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const [, , file, sdk] = process.argv;
const validate = require(join(sdk, "dist/schema/v1.js"));
let [passed, failed, refused, stricter] = [0, 0, 0, 0];
for (const { name, taken, event } of JSON.parse(readFileSync(file, "utf8"))) {
  const good = validate(event);
  const agrees = good || !taken;
  agrees ? passed++ : failed++;
  refused += !good;
  stricter += good && !taken;
  const schema = good ? "an event" : `none: ${validate.errors.map((e) => `${e.instancePath} ${e.message}`).join("; ")}`;
  console.log(`${agrees ? "ok  " : "FAIL"} ${name}: ${taken ? "taken" : "refused"}; by the schema ${schema}`);
}
// The control: a schema that takes everything would agree with all of it.
const awake = refused >= 5;
awake ? passed++ : failed++;
console.log(`${awake ? "ok  " : "FAIL"} the schema refuses ${refused} of them; the hub alone ${stricter} more`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
