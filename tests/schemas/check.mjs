// Documents against published schemas: fields by a package's types, since a schema of Kubernetes lets unknown ones through, and values by
// the validator of custom resources. In: a JSON list of [module, type, model or null, document]. Out: a list of lists of faults.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import ts from "typescript";

const given = JSON.parse(readFileSync(0, "utf8"));
const faults = await Promise.all(
  given.map(async ([module, , model, one]) => {
    if (model === null) return [];
    const found = await import(module);
    try {
      new found[model](one).validate();
      return [];
    } catch (problem) {
      return [problem.message];
    }
  }),
);

const lines = given.map(
  ([module, type, , one], index) =>
    `import type { ${type} as Type${index} } from "${module}"; export const one${index}: Type${index} = ${JSON.stringify(one)};`,
);
const file = resolve("documents.ts");
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
  faults[found.file.getLineAndCharacterOfPosition(found.start).line].push(message);
}
process.stdout.write(JSON.stringify(faults));
