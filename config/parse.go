package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"meridian/chat"
)

// maxFileBytes bounds a configuration file; depthMax bounds how deep it nests.
const (
	maxFileBytes = mib
	depthMax     = 32
)

// Load reads and validates the file at path. A file that cannot be read gives a chat.Error with CodeInvalid; a file that
// makes no sense gives Problems.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "config.Load", Message: "the file cannot be opened", Cause: err}
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeInvalid, Op: "config.Load", Message: "the file cannot be read: " + path, Cause: err}
	}
	return Parse(b)
}

// Parse reads one YAML document of at most 1 MiB, fills what it leaves out from Default and validates the whole. The
// regions, zones and home zones of Default are taken together or not at all: a file that names one of them describes its
// own deployment. Unknown keys, keys given twice, values of another type and aliases are refused. The error is Problems.
func Parse(b []byte) (*Config, error) {
	if len(b) > maxFileBytes {
		return nil, Problems{{Path: "file", Message: fmt.Sprintf("is larger than %d bytes", maxFileBytes)}}
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return Default(), nil
	} else if err != nil {
		return nil, Problems{{Path: "file", Message: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, Problems{{Path: "file", Message: "holds more than one document"}}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return Default(), nil
	}
	var s shape
	s.check(root, reflect.TypeFor[Config](), "", 0)
	if len(s.problems) > 0 {
		return nil, s.problems
	}
	c := Default()
	ownRegions := hasKey(root, "regions") || hasKey(root, "zones") || hasKey(root, "home_zones")
	if ownRegions {
		c.Regions, c.Zones, c.HomeZones = nil, nil, HomeZones{}
	}
	domain := c.Router.Domain
	if err := root.Decode(c); err != nil {
		return nil, Problems{{Path: "file", Message: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	for i := range c.Zones {
		if host, ok := strings.CutSuffix(c.Zones[i].Host, domain); ok && !ownRegions {
			c.Zones[i].Host = host + c.Router.Domain
		}
	}
	c.fillZones()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// fillZones gives the zones of a file what they leave out: a zone says policy, transit and ack only where they differ.
func (c *Config) fillZones() {
	for i := range c.Zones {
		z := &c.Zones[i]
		if z.Transit == "" {
			z.Transit = chat.TransitAllow
		}
		if z.Policy == "" && z.Transit == chat.TransitAllow {
			z.Policy = chat.PolicyCopy
		} else if z.Policy == "" {
			z.Policy = chat.PolicyDeny
		}
		if z.Ack == "" {
			z.Ack = chat.AckRegion
		}
	}
}

func hasKey(mapping *yaml.Node, key string) bool {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return true
		}
	}
	return false
}

// shape compares a document with the types that it is decoded into. The decoder would refuse the same things, but it knows
// neither the path of a key nor the names that are allowed.
type shape struct{ problems Problems }

func (s *shape) add(n *yaml.Node, path, format string, args ...any) {
	if path == "" {
		path = "file"
	}
	s.problems = append(s.problems, Problem{Path: path, Line: n.Line, Message: fmt.Sprintf(format, args...)})
}

var durationType = reflect.TypeFor[time.Duration]()

func (s *shape) check(n *yaml.Node, t reflect.Type, path string, depth int) {
	switch {
	case depth > depthMax:
		s.add(n, path, "is nested too deeply")
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		s.add(n, path, "uses an anchor or an alias; write the value out")
	case t.Kind() == reflect.Pointer:
		s.check(n, t.Elem(), path, depth)
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		s.checkMapping(n, t, path, depth)
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			s.add(n, path, "%s is not a list", show(n))
			return
		}
		for i, item := range n.Content {
			s.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	default:
		s.checkScalar(n, t, path)
	}
}

func (s *shape) checkMapping(n *yaml.Node, t reflect.Type, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		s.add(n, path, "%s is not a list of keys with values", show(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		if key.Kind != yaml.ScalarNode || key.Anchor != "" {
			s.add(key, path, "has a key that is no word")
			continue
		}
		if seen[key.Value] {
			s.add(key, at, "is given twice")
			continue
		}
		seen[key.Value] = true
		if t.Kind() == reflect.Map {
			if key.Tag != "!!str" {
				s.add(key, at, "the key is not text; put it in quotes")
			}
			s.check(value, t.Elem(), at, depth+1)
			continue
		}
		if field, ok := fieldOf(t, key.Value); ok {
			s.check(value, field, at, depth+1)
		} else {
			s.add(key, at, "is not a key; known: %s", strings.Join(keysOf(t), ", "))
		}
	}
}

func (s *shape) checkScalar(n *yaml.Node, t reflect.Type, path string) {
	if n.Kind != yaml.ScalarNode {
		s.add(n, path, "%s is not a single value", show(n))
		return
	}
	switch {
	case n.Tag == "!!null":
		s.add(n, path, "has no value; leave the key out to take the default")
	case t == durationType:
		if _, err := time.ParseDuration(n.Value); err != nil || n.Tag != "!!str" {
			s.add(n, path, "%s is not a time span; write a number and a unit, as in 250ms, 10s, 5m or 72h", show(n))
		}
	case t.Kind() == reflect.String:
		if n.Tag != "!!str" {
			s.add(n, path, "%s is not text; put it in quotes", show(n))
		}
	default:
		// The decoder would cut 1.5 down to a whole number, and take yes for true.
		fits := n.Tag == "!!bool" && t.Kind() == reflect.Bool || n.Tag == "!!int" && t.Kind() != reflect.Bool || n.Tag == "!!float" && t.Kind() == reflect.Float64
		if !fits || n.Decode(reflect.New(t).Interface()) != nil {
			s.add(n, path, "%s is not %s", show(n), kindWords(t))
		}
	}
}

func kindWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Uint8, reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	default:
		return "a whole number"
	}
}

// show gives a value as the messages print it: quoted, or what kind it is.
func show(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a list of keys"
	case yaml.SequenceNode:
		return "a list"
	default:
		return quote(n.Value)
	}
}

// quote shortens what a mistake may have made very long.
func quote(s string) string {
	const showMax = 80
	if len(s) > showMax {
		s = strings.ToValidUTF8(s[:showMax], "") + "…"
	}
	return strconv.Quote(s)
}

func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if keyOf(t.Field(i)) == key {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

// keyOf gives a field's key in the file.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, keyOf(t.Field(i)))
	}
	slices.Sort(keys)
	return keys
}
