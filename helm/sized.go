package helm

import (
	"strings"
	"text/template"
)

// sized are the functions that make something large out of a small number, each
// asked for its size before it begins.
func (r *run) sized(funcs template.FuncMap) template.FuncMap {
	sized := template.FuncMap{
		"repeat": func(count int, s string) (string, error) {
			if err := r.fits(count, len(s)); err != nil {
				return "", err
			}
			return strings.Repeat(s, max(count, 0)), nil
		},
		"indent": r.indent,
		"nindent": func(spaces int, s string) (string, error) {
			indented, err := r.indent(spaces, s)
			return "\n" + indented, err
		},
		"replace": func(old, new, s string) (string, error) {
			if err := r.fits(strings.Count(s, old), len(new)); err != nil {
				return "", err
			}
			return strings.ReplaceAll(s, old, new), nil
		},
	}
	if until, ok := funcs["until"].(func(int) []int); ok {
		sized["until"] = func(count int) ([]int, error) {
			if err := r.fits(distance(0, count), 8); err != nil {
				return nil, err
			}
			return until(count), nil
		}
	}
	if untilStep, ok := funcs["untilStep"].(func(int, int, int) []int); ok {
		sized["untilStep"] = func(start, stop, step int) ([]int, error) {
			if err := r.fits(distance(start, stop), 8); err != nil {
				return nil, err
			}
			return untilStep(start, stop, step), nil
		}
	}
	if seq, ok := funcs["seq"].(func(...int) string); ok {
		sized["seq"] = func(params ...int) (string, error) {
			for i := range params {
				if err := r.fits(distance(0, params[i]), 8); err != nil {
					return "", err
				}
			}
			return seq(params...), nil
		}
	}
	for _, name := range []string{"randAlphaNum", "randAlpha", "randAscii", "randNumeric"} {
		if random, ok := funcs[name].(func(int) string); ok {
			sized[name] = func(count int) (string, error) {
				if err := r.fits(count, 8); err != nil {
					return "", err
				}
				return random(count), nil
			}
		}
	}
	if random, ok := funcs["randBytes"].(func(int) (string, error)); ok {
		sized["randBytes"] = func(count int) (string, error) {
			if err := r.fits(count, 8); err != nil {
				return "", err
			}
			return random(count)
		}
	}
	return sized
}

func (r *run) indent(spaces int, s string) (string, error) {
	if err := r.fits(strings.Count(s, "\n")+1, spaces); err != nil {
		return "", err
	}
	pad := strings.Repeat(" ", max(spaces, 0))
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

// distance is how far a is from b, at most the largest int.
func distance(a, b int) int {
	if a > b {
		a, b = b, a
	}
	if d := b - a; d >= 0 {
		return d
	}
	return int(^uint(0) >> 1)
}

// fits stops the rendering when count times size bytes exceed the limit.
func (r *run) fits(count, size int) error {
	if count <= 0 || size <= 0 {
		return nil
	}
	if int64(size) > r.limits.Output/int64(count) { // a product could overflow
		return r.stop(&LimitError{Chart: r.chart, File: r.file, Limit: "Output", Max: r.limits.Output})
	}
	return nil
}
