import { createRoot } from "react-dom/client";
import { App } from "./app";
import "./style/tokens.css";
import "./style/base.css";
import { applyTheme } from "./style/theme";

applyTheme();
createRoot(document.getElementById("root")!).render(<App />);
