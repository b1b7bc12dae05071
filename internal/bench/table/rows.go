package table

// A measurement is a load and the figures that it yields.
type measurement struct {
	load string
	// flags are those of the load, short those that follow them in the short form, and
	// reference those that follow for the reference server, which knows neither
	// sessions that outlive their WebSocket nor http=bytes. A flag that comes again
	// counts as it comes last.
	flags, short, reference []string
	// absolute says that there is nothing to compare with: the reference is not run.
	absolute bool
	rows     []row
}

// A row is a figure with an aim. Less is better in all of them.
type row struct {
	name   string
	figure string  // its key in the load's report
	ratio  bool    // to the reference, which has another unit cancelled out
	scale  float64 // of a figure that is no ratio
	unit   string
	aim    float64
}

// The short form takes no figures, it shows that they can be taken.
var (
	shortBytes    = []string{"-bytes", "8MiB"}
	shortDuration = []string{"-duration", "400ms"}
	shortIdle     = []string{"-n", "100", "-settle", "200ms"}
)

// measurements are all. Where an aim comes from is told in docs/performance.md.
var measurements = []measurement{
	{load: "relay-throughput", flags: []string{"-conns", "4", "-bytes", "512MiB"}, short: shortBytes, rows: []row{
		{name: "relay down, CPU per GB", figure: "cpu", ratio: true, aim: 0.55},
	}},
	{load: "relay-throughput", flags: []string{"-conns", "4", "-bytes", "512MiB", "-resume"}, short: shortBytes, reference: []string{"-resume=false"}, rows: []row{
		{name: "relay down with resume, CPU per GB", figure: "cpu", ratio: true, aim: 0.9},
	}},
	{load: "relay-throughput", flags: []string{"-conns", "4", "-bytes", "512MiB", "-dir", "up"}, short: shortBytes, rows: []row{
		{name: "relay up, CPU per GB", figure: "cpu", ratio: true, aim: 0.33},
	}},
	{load: "relay-latency", flags: []string{"-duration", "4s"}, short: shortDuration, rows: []row{
		{name: "relay ping p50, one connection", figure: "p50", ratio: true, aim: 0.95},
	}},
	{load: "relay-latency", flags: []string{"-conns", "200", "-rate", "2000", "-duration", "8s"}, short: shortDuration, rows: []row{
		{name: "relay ping p99, 200 connections, 2,000 a second", figure: "p99", ratio: true, aim: 1},
	}},
	{load: "relay-connect", flags: []string{"-duration", "4s"}, short: shortDuration, rows: []row{
		{name: "relay connect, CPU per 1,000", figure: "cpu", ratio: true, aim: 1.25},
	}},
	{load: "relay-idle", flags: []string{"-n", "3000"}, short: shortIdle, rows: []row{
		{name: "idle relay, resident", figure: "bytes_per_relay", scale: 1, unit: "B", aim: 11_000},
	}},
	{load: "relay-idle", flags: []string{"-n", "3000", "-resume"}, short: shortIdle, reference: []string{"-resume=false"}, rows: []row{
		{name: "idle relay with resume, resident", figure: "bytes_per_relay", scale: 1, unit: "B", aim: 11_000},
	}},
	{load: "tunnel-http", flags: []string{"-duration", "4s"}, short: shortDuration, rows: []row{
		{name: "tunnel HTTP, JSON, 1 KiB, CPU per 1,000", figure: "cpu", ratio: true, aim: 0.75},
		{name: "most memory meanwhile", figure: "rss_peak", scale: 1, unit: "MiB", aim: 40},
	}},
	{load: "tunnel-http", flags: []string{"-duration", "4s", "-bytes"}, short: shortDuration, reference: []string{"-bytes=false"}, rows: []row{
		{name: "tunnel HTTP, `http=bytes`, 1 KiB, CPU per 1,000", figure: "cpu", ratio: true, aim: 0.6},
	}},
	{load: "tunnel-http", flags: []string{"-duration", "4s", "-bytes", "-body", "1MiB"}, short: shortDuration, absolute: true, rows: []row{
		{name: "the same, 1 MiB, CPU per GB", figure: "cpu_per_gb", scale: 1, unit: "s", aim: 0.6},
	}},
	{load: "tunnel-tcp", flags: []string{"-bytes", "256MiB"}, short: shortBytes, rows: []row{
		{name: "raw down, CPU per GB", figure: "cpu", ratio: true, aim: 0.45},
	}},
	{load: "tunnel-tcp", flags: []string{"-bytes", "256MiB", "-dir", "up"}, short: shortBytes, rows: []row{
		{name: "raw up, CPU per GB", figure: "cpu", ratio: true, aim: 0.45},
	}},
	{load: "expose", flags: []string{"-duration", "4s"}, short: shortDuration, absolute: true, rows: []row{
		{name: "`expose`, both ends, CPU per 1,000", figure: "cpu", scale: 1000, unit: "ms", aim: 45},
	}},
	{load: "expose", flags: []string{"-duration", "4s", "-body", "1MiB"}, short: shortDuration, absolute: true, rows: []row{
		{name: "`expose`, both ends, 1 MiB, CPU per GB", figure: "cpu_per_gb", scale: 1, unit: "s", aim: 1.3},
	}},
}
