import { readiness } from "./api.js";
import { showReadiness } from "./views.js";

const state = document.getElementById("state");
readiness().then((said) => showReadiness(state, said), (problem) => { state.textContent = problem.message; });
