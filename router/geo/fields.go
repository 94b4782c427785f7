package geo

import "math"

// at follows path through nested maps; nil when it leads nowhere.
func at(record map[string]any, path ...string) any {
	var v any = record
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func text(record map[string]any, path ...string) string {
	s, _ := at(record, path...).(string)
	return s
}

func firstText(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

func number(record map[string]any, path ...string) *float64 {
	switch v := at(record, path...).(type) {
	case float64:
		return &v
	case float32:
		f := float64(v)
		return &f
	}
	return nil
}

func firstNumber(all ...*float64) (float64, bool) {
	for _, f := range all {
		if f != nil && !math.IsNaN(*f) {
			return *f, true
		}
	}
	return 0, false
}
