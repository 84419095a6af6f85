// Puts what the hub says into the page, as text and never as markup.
export function showReadiness(node, readiness) {
  node.textContent = readiness.checks.map((check) => `${check.name}: ${check.detail}`).join("; ");
}
