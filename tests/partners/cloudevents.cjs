// Asks the JSON schema of CloudEvents 1.0 about each event that the hub's reader was given, and about each that the hub told
// by HTTP and NATS: the schema as the SDK of the CloudEvents project for JavaScript holds it, compiled.
//
//   node cloudevents.cjs FILE FOLDER SDK
//
// What the hub takes must be an event by the schema; what is none by the schema the hub must not take. The hub asks for
// more than the schema in places; those are told. What the hub tells, in FOLDER, must be an event, and none any more
// without any one of the attributes that the standard requires. Prints "N passed, N failed".
const { readFileSync, readdirSync, existsSync } = require("node:fs");
const { join } = require("node:path");
const [, , file, folder, sdk] = process.argv;
const validate = require(join(sdk, "dist/schema/v1.js"));
let [passed, failed, refused, stricter] = [0, 0, 0, 0];
const tell = (good, text) => {
  good ? passed++ : failed++;
  console.log(`${good ? "ok  " : "FAIL"} ${text}`);
};
const why = () => validate.errors.map((e) => `${e.instancePath} ${e.message}`).join("; ");
for (const { name, taken, event } of JSON.parse(readFileSync(file, "utf8"))) {
  const good = validate(event);
  refused += !good;
  stricter += good && !taken;
  const schema = good ? "an event" : `none: ${why()}`;
  tell(good || !taken, `${name}: ${taken ? "taken" : "refused"}; by the schema ${schema}`);
}
// The control: a schema that takes everything would agree with all of it.
tell(refused >= 5, `the schema refuses ${refused} of them; the hub alone ${stricter} more`);
let told = 0;
for (const way of existsSync(folder) ? readdirSync(folder).sort() : []) {
  for (const event of JSON.parse(readFileSync(join(folder, way), "utf8"))) {
    told++;
    const good = validate(event);
    tell(good, `told by ${way.replace(".json", "")}: ${event.type}${good ? "" : `: ${why()}`}`);
    const without = ["specversion", "id", "source", "type"].filter((name) => {
      const { [name]: _, ...rest } = event;
      return validate(rest);
    });
    tell(without.length === 0, `  and no event without one of its four attributes${without.map((n) => ` (${n})`)}`);
  }
}
tell(told >= 2, `${told} events that were told`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
