package sim

import "slices"

// shrink looks for a small part of a failing world that breaks the same promise. It takes away what it can: time, devices,
// turns, faults, tendencies, regions; each by halves first, then one by one, until nothing more can go or runs are used up.
func shrink(seed uint64, promise string, plan Plan, full outcome, runs int) Plan {
	s := &shrinker{seed: seed, promise: promise, best: plan, runs: runs}
	s.best.Turns, s.best.Faults = append([]int{}, full.turns...), append([]int{}, full.troubles...)
	if !s.fails(s.best) {
		return plan // it takes what the lists do not hold
	}
	for before := -1; before != s.size() && s.runs > 0; {
		before = s.size()
		s.shorten()
		s.thin(func(p *Plan) *[]int { return &p.Turns })
		s.thin(func(p *Plan) *[]int { return &p.Faults })
		s.devices()
		s.calms()
		s.regions()
	}
	return s.best
}

type shrinker struct {
	seed    uint64
	promise string
	best    Plan
	runs    int // left
}

// fails says whether the world of p breaks the promise; such a plan is the best so far.
func (s *shrinker) fails(p Plan) bool {
	if s.runs <= 0 {
		return false
	}
	s.runs--
	out := runWorld(s.seed, p, nil)
	if !slices.ContainsFunc(out.violations, func(v Violation) bool { return v.Promise == s.promise }) {
		return false
	}
	s.best = p
	return true
}

// size falls with everything that goes.
func (s *shrinker) size() int {
	p := s.best
	return p.BusyMS + len(p.Turns) + len(p.Faults) + len(p.Devices) + p.Regions - len(p.Calm)
}

// shortestMS is a busy time below which nothing is gained.
const shortestMS = 500

// shorten takes away time from the end.
func (s *shrinker) shorten() {
	whole := int(s.best.busy().Milliseconds())
	for step := whole / 2; step >= shortestMS/2 && s.runs > 0; step /= 2 {
		for whole-step >= shortestMS {
			p := s.best
			p.BusyMS = whole - step
			if !s.fails(p) {
				break
			}
			whole = p.BusyMS
		}
	}
}

// thin takes away parts of a list: halves, quarters, at last single elements.
func (s *shrinker) thin(list func(*Plan) *[]int) {
	for part := max(1, len(*list(&s.best))/2); part >= 1; part /= 2 {
		for at := 0; at < len(*list(&s.best)) && s.runs > 0; {
			p := s.best
			all := *list(&p)
			*list(&p) = append(append([]int{}, all[:at]...), all[min(at+part, len(all)):]...) // never nil: that would be all
			if !s.fails(p) {
				at += part
			}
		}
	}
}

// devices takes away devices; at first none but those that have turns, if that will do.
func (s *shrinker) devices() {
	if s.best.Devices == nil {
		acting := []int{}
		for _, turn := range s.best.Turns {
			acting = append(acting, turn/turnsOfDevice)
		}
		slices.Sort(acting)
		p := s.best
		p.Devices = slices.Compact(acting)
		if !s.fails(p) {
			p.Devices = make([]int, devicesMax)
			for i := range p.Devices {
				p.Devices[i] = i
			}
			s.fails(p)
		}
	}
	s.thin(func(p *Plan) *[]int { return &p.Devices })
}

// calms takes away tendencies.
func (s *shrinker) calms() {
	for _, name := range Calms() {
		if !slices.Contains(s.best.Calm, name) {
			p := s.best
			p.Calm = append(slices.Clone(p.Calm), name)
			s.fails(p)
		}
	}
}

// regions takes away regions.
func (s *shrinker) regions() {
	for n := regionsMin; n < len(regionNames) && (s.best.Regions == 0 || n < s.best.Regions); n++ {
		p := s.best
		p.Regions = n
		if s.fails(p) {
			return
		}
	}
}
