// Custom resources against the published schemas: values by the validator that a package has, unknown fields by its types, since a schema
// of Kubernetes lets them through. In: a JSON list of [package, object]. Out: a JSON list of lists of faults, in the same order.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import ts from "typescript";

const given = JSON.parse(readFileSync(0, "utf8"));
const place = (pack, one) => `${pack}/${one.apiVersion}/${one.kind}`;

const values = await Promise.all(
  given.map(async ([pack, one]) => {
    const model = await import(place(pack, one));
    try {
      new model[one.kind](one).validate();
      return [];
    } catch (problem) {
      return [problem.message];
    }
  }),
);

const lines = given.map(
  ([pack, one], index) =>
    `import { I${one.kind} as Kind${index} } from "${place(pack, one)}"; export const one${index}: Kind${index} = ${JSON.stringify(one)};`,
);
const file = resolve("objects.ts");
const options = {
  strict: true, noEmit: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
};
const host = ts.createCompilerHost(options);
const read = host.getSourceFile;
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, lines.join("\n"), ts.ScriptTarget.ES2022) : read(name, ...rest);
const program = ts.createProgram([file], options, host);
for (const found of ts.getPreEmitDiagnostics(program)) {
  const message = ts.flattenDiagnosticMessageText(found.messageText, " ");
  if (found.file === undefined) throw new Error(message);
  values[found.file.getLineAndCharacterOfPosition(found.start).line].push(message);
}
process.stdout.write(JSON.stringify(values));
