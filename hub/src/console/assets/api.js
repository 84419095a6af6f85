// Speaks with the hub's API.
export async function readiness() {
  const answer = await fetch("/readyz", { credentials: "omit" });
  return answer.json();
}
