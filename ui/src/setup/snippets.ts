// How to send profiles to the very server that shows the page, word for word.

export const SENDERS = ["curl", "Go", "Python", "Ruby", "Java", "Node.js", ".NET", "Rust", "eBPF", "OTLP collector", "Kubernetes", "Alloy", "pprof file", "Grafana"] as const;
export type Sender = (typeof SENDERS)[number];

export function snippet(sender: Sender, server: string): string {
  switch (sender) {
    case "curl":
      return `printf 'main;handle;parse 80\\nmain;handle;render 40\\nmain;idle 10\\n' |
  curl --data-binary @- '${server}/ingest?name=my-first-service.cpu&format=folded'`;
    case "Go":
      return `// go get github.com/grafana/pyroscope-go
profiler, err := pyroscope.Start(pyroscope.Config{
	ApplicationName: "my-service",
	ServerAddress:   "${server}",
	Tags:            map[string]string{"version": "1.0.0"},
})
if err != nil {
	log.Fatal(err)
}
defer func() { profiler.Flush(true); profiler.Stop() }() // Flush sends the last window`;
    case "Python":
      return `# pip install pyroscope-io
import pyroscope

pyroscope.configure(
    application_name="my-service",
    server_address="${server}",
    tags={"version": "1.0.0"},
)`;
    case "Ruby":
      return `# gem install pyroscope
require "pyroscope"

Pyroscope.configure do |config|
  config.application_name = "my-service"
  config.server_address = "${server}"
  config.tags = { "version" => "1.0.0" }
end`;
    case "Java":
      return `# with async-profiler; one recording of half a minute
asprof -d 30 -e cpu -o collapsed -f my-service.folded $(pgrep -f my-service.jar)
curl --data-binary @my-service.folded \\
  '${server}/ingest?name=my-service.cpu{version=1.0.0}&format=folded'`;
    case "Node.js":
      return `// npm install @pyroscope/nodejs
import Pyroscope from "@pyroscope/nodejs";
Pyroscope.init({
  appName: "my-service",
  serverAddress: "${server}",
  tags: { version: "1.0.0" },
  wall: { collectCpuTime: true },
});
Pyroscope.start();`;
    case ".NET":
      return `# with the Pyroscope profiler for .NET beside your program
PYROSCOPE_APPLICATION_NAME=my-service \\
PYROSCOPE_SERVER_ADDRESS=${server} \\
PYROSCOPE_LABELS=version:1.0.0 \\
CORECLR_ENABLE_PROFILING=1 \\
CORECLR_PROFILER={BD1A650D-AC5D-4896-B64F-D6FA25D6B26A} \\
CORECLR_PROFILER_PATH=$PWD/Pyroscope.Profiler.Native.so \\
LD_PRELOAD=$PWD/Pyroscope.Linux.ApiWrapper.x64.so \\
dotnet app.dll`;
    case "Rust":
      return `// cargo add pyroscope --features backend-pprof-rs
let backend = pprof_backend(PprofConfig::default(), BackendConfig::default());
let agent = PyroscopeAgentBuilder::new("${server}", "my-service", 100, "pyroscope-rs", "2.1.5", backend)
    .tags(vec![("version", "1.0.0")])
    .build()?;
let running = agent.start()?;
running.stop()?.shutdown(); // at the end of the program`;
    case "pprof file":
      return `curl -o cpu.pb.gz 'http://localhost:6060/debug/pprof/profile?seconds=10'
curl --data-binary @cpu.pb.gz '${server}/ingest?name=my-service&format=pprof'`;
    case "eBPF":
      return `# Every process of a Linux host, its programs unchanged: the OpenTelemetry eBPF profiler.
cat > ebpf.yaml <<'END'
receivers:
  profiling: {}
exporters:
  otlphttp:
    endpoint: ${server}
service:
  pipelines:
    profiles:
      receivers: [profiling]
      exporters: [otlphttp]
END
docker run --rm --privileged --pid=host --network=host \\
  -v /sys/kernel/debug:/sys/kernel/debug:ro -v "$PWD/ebpf.yaml:/etc/ebpf.yaml:ro" \\
  otel/opentelemetry-collector-ebpf-profiler \\
  --config=/etc/ebpf.yaml --feature-gates=service.profilesSupport`;
    case "OTLP collector":
      return `# started with --feature-gates=service.profilesSupport; gRPC works on the same address
receivers:
  otlp:
    protocols:
      grpc: {}
      http: {}
exporters:
  otlphttp/everflame:
    endpoint: ${server} # profiles go to ${server}/v1development/profiles
service:
  pipelines:
    profiles:
      receivers: [otlp]
      exporters: [otlphttp/everflame]`;
    case "Kubernetes":
      return `# Pods with the annotation profiles.grafana.com/cpu.scrape: "true" are scraped, by Grafana Alloy in the cluster.
discovery.kubernetes "pods" {
  role = "pod"
}

discovery.relabel "profiled" {
  targets = discovery.kubernetes.pods.targets
  rule {
    source_labels = ["__meta_kubernetes_pod_annotation_profiles_grafana_com_cpu_scrape"]
    regex         = "true"
    action        = "keep"
  }
  rule {
    source_labels = ["__meta_kubernetes_namespace", "__meta_kubernetes_pod_container_name"]
    separator     = "/"
    target_label  = "service_name"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_name"]
    target_label  = "pod"
  }
  rule {
    source_labels = ["__meta_kubernetes_pod_label_app_kubernetes_io_version"]
    target_label  = "version"
  }
}

pyroscope.scrape "pods" {
  targets    = discovery.relabel.profiled.output
  forward_to = [pyroscope.write.everflame.receiver]
}

pyroscope.write "everflame" {
  endpoint {
    url = "${server}"
  }
}`;
    case "Alloy":
      return `pyroscope.scrape "services" {
  targets    = [{"__address__" = "localhost:6060", "service_name" = "my-service"}]
  forward_to = [pyroscope.write.everflame.receiver]
}

pyroscope.write "everflame" {
  endpoint {
    url = "${server}"
  }
}`;
    case "Grafana":
      return `apiVersion: 1
datasources:
  - name: Everflame
    type: grafana-pyroscope-datasource
    url: ${server}`;
  }
}
