package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"meridian/chat"
)

// Plan says how much of a seed's world happens. The zero plan is the whole world; a smaller one is what is left of it when a
// failing world has been made small. What is in both happens alike in both.
type Plan struct {
	// BusyMS is how long (simulated) people write and faults happen, before everything heals; 0: 30 s.
	BusyMS int `json:"busy_ms,omitzero"`
	// Regions bounds how many there are; 0: as many as the seed says.
	Regions int `json:"regions,omitzero"`
	// Devices, Turns and Faults list the devices that people have, what people do, and the faults that happen; nil: all.
	Devices []int `json:"devices,omitzero"`
	Turns   []int `json:"turns,omitzero"`
	Faults  []int `json:"faults,omitzero"`
	// Calm lists what the world is not prone to, whatever its seed says; see Calms.
	Calm []string `json:"calm,omitzero"`
}

// ParsePlan reads a plan's JSON. The error has CodeInvalid.
func ParsePlan(text string) (Plan, error) {
	var p Plan
	bad := func(what string) (Plan, error) {
		return Plan{}, &chat.Error{Code: chat.CodeInvalid, Op: "sim.ParsePlan", Message: what}
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return bad("the plan is not the JSON that sim prints: " + err.Error())
	}
	if p.BusyMS < 0 || p.Regions < 0 || p.BusyMS > int(BusyMax.Milliseconds()) {
		return bad(fmt.Sprintf("busy_ms of a plan is at most %d, and neither it nor regions is negative", BusyMax.Milliseconds()))
	}
	for _, name := range p.Calm {
		if _, ok := calms[name]; !ok {
			return bad(fmt.Sprintf("a plan has no calm %q, only %s", name, strings.Join(Calms(), ", ")))
		}
	}
	return p, nil
}

// String gives the plan's JSON.
func (p Plan) String() string {
	b, err := json.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// busyDefault is how long people write and faults happen.
const busyDefault = 30 * time.Second

// BusyMax bounds the simulated time of a world.
const BusyMax = 24 * time.Hour

func (p Plan) busy() time.Duration {
	if p.BusyMS == 0 {
		return busyDefault
	}
	return time.Duration(p.BusyMS) * time.Millisecond
}

// turnsEachHalfMinute bounds what people do, so that the work of a world is bounded.
const turnsEachHalfMinute = 450

func (p Plan) turnsMax() int {
	return int(turnsEachHalfMinute * max(p.busy(), busyDefault) / (30 * time.Second))
}

// devicesMax is more than the devices of any world.
const devicesMax = 64

func kept(list []int, n int) bool { return list == nil || slices.Contains(list, n) }

// calms are the tendencies of a world that a plan can take away.
var calms = map[string]func(*mood){
	"slow writes":        func(m *mood) { m.slowWrites = 0 },
	"bad writes":         func(m *mood) { m.badWrites = 0 },
	"clock skew":         func(m *mood) { m.skew = 0 },
	"clock leaps":        func(m *mood) { m.leaps = 0 },
	"clocks astray":      func(m *mood) { m.astray = 0 },
	"roaming":            func(m *mood) { m.roamEvery = time.Hour },
	"loss of a region":   func(m *mood) { m.loseRegion = false },
	"harsh faults":       func(m *mood) { m.harsh = 0 },
	"two builds":         func(m *mood) { m.narrow = false },
	"coarse clocks":      func(m *mood) { m.coarse = 0 },
	"poison ops":         func(m *mood) { m.poison = 0 },
	"forged refusals":    func(m *mood) { m.forged = 0 },
	"slow reads":         func(m *mood) { m.slowReads = 0 },
	"exile":              func(m *mood) { m.exile = 0 },
	"sweeping":           func(m *mood) { m.opLog = 0 },
	"outbox budget":      func(m *mood) { m.outbox = 0 },
	"retention":          func(m *mood) { m.retention = 0 },
	"restoring":          func(m *mood) { m.restores = false },
	"writes of the dead": func(m *mood) { m.partialLoss = 0 },
}

// Calms lists the tendencies that Plan.Calm can take away.
func Calms() []string {
	names := make([]string, 0, len(calms))
	for name := range calms {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p Plan) calm(m *mood) {
	for _, name := range p.Calm {
		calms[name](m)
	}
}
