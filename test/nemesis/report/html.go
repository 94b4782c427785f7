package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Save writes nemesis.json and nemesis.html into dir and gives the page's path.
func (r *Report) Save(dir string) (page string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "nemesis.json"), append(text, '\n'), 0o644); err != nil {
		return "", err
	}
	var out strings.Builder
	if err := pageTemplate().Execute(&out, r); err != nil {
		return "", err
	}
	page = filepath.Join(dir, "nemesis.html")
	return page, os.WriteFile(page, []byte(out.String()), 0o644)
}

func pageTemplate() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{"timeline": timeline, "bars": bars}).Parse(pageText))
}

// Sizes of the time line, in units of the picture.
const (
	lineWidth  = 1000
	plotHeight = 120
	rowHeight  = 16
	leftMargin = 160
)

// timeline draws the acknowledgements of each second, and a bar for each fault from its beginning to its recovery.
func timeline(s Scenario) template.HTML {
	seconds := max(len(s.PerSecond), 1)
	for _, f := range s.Faults {
		seconds = max(seconds, int(time.Duration(f.Mended+f.Recovered).Seconds())+1)
	}
	x := func(at float64) float64 { return leftMargin + at/float64(seconds)*(lineWidth-leftMargin-10) }
	peak := 1
	if len(s.PerSecond) > 0 {
		peak = max(peak, slices.Max(s.PerSecond))
	}
	height := plotHeight + 24 + rowHeight*len(s.Faults)
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg viewBox="0 0 %d %d" role="img" aria-label="acknowledgements and faults over time">`, lineWidth, height)
	fmt.Fprintf(&svg, `<text x="0" y="12">acks/s (peak %d)</text><polyline class="acks" points="`, peak)
	for i, n := range s.PerSecond {
		fmt.Fprintf(&svg, "%.1f,%.1f ", x(float64(i)+0.5), plotHeight-float64(n)/float64(peak)*(plotHeight-10))
	}
	fmt.Fprintf(&svg, `"/><line class="axis" x1="%d" y1="%d" x2="%d" y2="%d"/>`, leftMargin, plotHeight, lineWidth-10, plotHeight)
	for at := 0; at <= seconds; at += max(seconds/10/10*10, 10) {
		fmt.Fprintf(&svg, `<text class="tick" x="%.1f" y="%d">%ds</text>`, x(float64(at)), plotHeight+14, at)
	}
	for i, f := range s.Faults {
		if f.Skipped != "" {
			continue
		}
		y := plotHeight + 22 + i*rowHeight
		began, mended := time.Duration(f.Began).Seconds(), time.Duration(f.Mended).Seconds()
		recovered := mended + time.Duration(f.Recovered).Seconds()
		fmt.Fprintf(&svg, `<text x="0" y="%d">%s</text>`, y+11, template.HTMLEscapeString(f.Name))
		fmt.Fprintf(&svg, `<rect class="fault" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`,
			x(began), y, max(x(mended)-x(began), 2), rowHeight-4, template.HTMLEscapeString(f.What))
		fmt.Fprintf(&svg, `<rect class="heal" x="%.1f" y="%d" width="%.1f" height="%d"><title>recovered after %s</title></rect>`,
			x(mended), y, max(x(recovered)-x(mended), 1), rowHeight-4, f.Recovered)
	}
	svg.WriteString("</svg>")
	return template.HTML(svg.String()) // numbers, and text that was escaped above
}

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Meridian nemesis report</title>
<style>
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1c2430;background:#fff}
@media (prefers-color-scheme:dark){body{color:#dde3ec;background:#12161d}td,th{border-color:#333d4c!important}text{fill:#dde3ec!important}}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #d5dbe5;padding:.25rem .4rem;text-align:right}th{font-size:12px}
td:first-child,th:first-child,td.l,th.l{text-align:left}.bad{color:#c62828;font-weight:600}.good{color:#2e7d32;font-weight:600}
svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#1c2430}.tick{text-anchor:middle}
.acks{fill:none;stroke:#1976d2;stroke-width:1.5}.axis{stroke:#98a2b3}.fault,.over{fill:#e53935}.heal{fill:#fbc02d}
.served{fill:#1976d2}.limit{stroke:#98a2b3;stroke-width:2;stroke-dasharray:3 2}.small{font-size:9px}
</style></head><body>
<h1>Nemesis report</h1>
<p>{{.Began.Format "2006-01-02 15:04:05 MST"}}, commit {{.Commit}}, {{.Machine}}.
{{if .OK}}<span class="good">Every promise held.</span>{{else}}<span class="bad">Promises were broken.</span>{{end}}</p>
{{if .Scenarios}}<h2>Which scenario checks which promise</h2>
<table><tr><th>promise</th>{{range .Scenarios}}<th>{{.Name}}</th>{{end}}</tr>
{{range .Rows}}<tr><td>{{.ID}}</td>{{range .Verdicts}}<td>{{if eq . "broken"}}<span class="bad">{{.}}</span>{{else}}{{.}}{{end}}</td>{{end}}</tr>{{end}}</table>
{{with .Unchecked}}<p>Checked in none of these scenarios:{{range .}} {{.}}{{end}}.</p>{{end}}{{end}}
{{range .Scenarios}}<h2>{{.Name}}</h2><p>{{.What}}{{if .Limits}} On this machine: {{.Limits}}{{end}}</p>
<table><tr><th>acknowledged</th><th>unknown</th><th>refused</th><th>lost</th><th>doubled</th><th>invented</th><th>altered</th><th>out of order</th><th>wrong id</th><th>gaps</th><th>repeats</th><th>deleted but there</th><th>wrong reactions</th><th>shown to the removed</th><th>ack p50</th><th>ack p99</th></tr>
{{with .Counts}}<tr><td>{{.Acked}}</td><td>{{.Unknown}}</td><td>{{.Failed}}</td><td>{{.Lost}}</td><td>{{.Doubled}}</td><td>{{.Invented}}</td><td>{{.Altered}}</td><td>{{.OutOfOrder}}</td><td>{{.WrongID}}</td><td>{{.Gaps}}</td><td>{{.Repeats}}</td><td>{{.Undead}}</td><td>{{.Reactions}}</td><td>{{.Intruded}}</td>{{end}}<td>{{.AckP50}}</td><td>{{.AckP99}}</td></tr></table>
{{range .Figures}}<p>{{.}}</p>{{end}}
{{if .Faults}}<h3>Recovery</h3>
{{bars .}}
<p>Blue: until others served the people who were hit (p99); the dashed line is what is promised. Yellow: from the end of the fault until messages flowed between all regions.</p>{{end}}
<h3>Over time</h3>
{{timeline .}}
{{if .Faults}}<p>Red: the fault. Yellow: until something written after its end had been shown between every pair of regions.</p>
<table><tr><th>fault</th><th class="l">what</th><th>people hit</th><th>served elsewhere p50</th><th>p99</th><th>max</th><th>bound</th><th>recovered</th></tr>
{{range .Faults}}<tr><td>{{.Name}}</td><td class="l">{{.What}}{{if .Skipped}} (not done: {{.Skipped}}){{end}}{{if .Problem}} <span class="bad">{{.Problem}}</span>{{end}}</td><td>{{.Hit}}</td>{{if .Hit}}<td>{{.P50}}</td><td>{{.P99}}</td><td>{{.Max}}</td>{{else}}<td>–</td><td>–</td><td>–</td>{{end}}<td>{{if .Bound}}{{.Bound}}{{else}}–{{end}}</td><td>{{.Recovered}}</td></tr>{{end}}</table>{{end}}
<table><tr><th>promise</th><th class="l">what</th><th class="l">verdict</th></tr>
{{range .Checks}}<tr><td>{{.ID}}</td><td class="l">{{.What}}</td><td class="l">{{if .Broken}}<span class="bad">broken {{.Broken}} times</span>{{else if .Elsewhere}}not checked here: {{.Elsewhere}}{{else}}<span class="good">held</span>{{end}}</td></tr>{{end}}</table>
{{range .Problems}}<p class="bad">{{.}}</p>{{end}}{{end}}
</body></html>
`
