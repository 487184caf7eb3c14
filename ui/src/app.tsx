import { Component, type ReactNode } from "react";
import { AdhocPage } from "./adhoc/AdhocPage";
import { ComparePage } from "./compare/ComparePage";
import { ExplorePage } from "./explore/ExplorePage";
import { FunctionPage } from "./function/FunctionPage";
import { HeatmapPage } from "./heatmap/HeatmapPage";
import { LabelsPage } from "./labels/LabelsPage";
import { ServicesPage } from "./services/ServicesPage";
import { SetupPage } from "./setup/SetupPage";
import { useZone } from "./shell/clock";
import { Header } from "./shell/Header";
import { SqlPage } from "./sql/SqlPage";
import { StatusPage } from "./status/StatusPage";
import { text } from "./text";
import { followLink, usePath } from "./url/navigation";

export function App() {
  const path = usePath();
  // Times are written anew when the zone changes.
  const zone = useZone();
  return (
    <>
      <Header />
      <Boundary key={`${path} ${zone}`}>{pageOf(path)}</Boundary>
    </>
  );
}

function pageOf(path: string): ReactNode {
  switch (path) {
    case "/":
      return <ServicesPage />;
    case "/explore":
      return <ExplorePage />;
    case "/compare":
    case "/comparison":
    case "/comparison-diff":
      return <ComparePage />;
    case "/labels":
      return <LabelsPage />;
    case "/heatmap":
      return <HeatmapPage />;
    case "/sql":
      return <SqlPage />;
    case "/function":
      return <FunctionPage />;
    case "/adhoc":
      return <AdhocPage />;
    case "/status":
      return <StatusPage />;
    case "/setup":
      return <SetupPage />;
    case "/services":
      return <ServicesPage />;
    default:
      return (
        <main className="page">
          <h1>{text.errors.notFound}</h1>
          <p>
            <a href="/" onClick={followLink}>
              {text.errors.home}
            </a>
          </p>
        </main>
      );
  }
}

/** A fault in one page leaves the way to the others open. */
class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state: { error: Error | null } = { error: null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <main className="page">
        <div className="notice failed" role="alert">
          <div>
            <strong>{text.errors.crashed}</strong>
            <p className="mono">{this.state.error.message}</p>
          </div>
          <a href="/">{text.errors.home}</a>
        </div>
      </main>
    );
  }
}
