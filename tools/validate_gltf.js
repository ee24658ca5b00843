// Validate GLB files with Khronos' validator; ends with 1 where one has errors.
//     npm install gltf-validator && node tools/validate_gltf.js results/*.glb
const fs = require("fs");
const validator = require("gltf-validator");

(async () => {
  for (const file of process.argv.slice(2)) {
    const { issues } = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)), { maxIssues: 0 });
    const kinds = {};
    for (const { code, severity } of issues.messages) {
      const kind = `${["error", "warning", "info", "hint"][severity]} ${code}`;
      kinds[kind] = (kinds[kind] || 0) + 1;
    }
    console.log(`${file}: ${issues.numErrors} errors`, kinds);
    process.exitCode = process.exitCode || Number(issues.numErrors > 0);
  }
})();
