package main

import (
	"encoding/json"
	"os"
	"path/filepath"

	"meridian/chat"
)

// ready is the line of `up --ready-json`, and what the verbs find a local `up` by: DATA/up.json.
type ready struct {
	Web     string                      `json:"web"`
	Router  readyRouter                 `json:"router"`
	Regions map[chat.Region]readyRegion `json:"regions"`
	// Control outlives a killed region.
	Control    string `json:"control"`
	AdminToken string `json:"admin_token"`
	DemoUsers  []demo `json:"demo_users,omitempty"`
}

type readyRouter struct {
	HTTP string `json:"http"`
	DNS  string `json:"dns"`
}

type readyRegion struct {
	HTTP  string `json:"http"`
	Admin string `json:"admin"`
}

// demo is a user that `up` makes for trying things out.
type demo struct {
	Username string `json:"username"`
	Password string `json:"password"`
	City     string `json:"city"`
	As       string `json:"as"`
}

func readyPath(dataDir string) string { return filepath.Join(dataDir, "up.json") }

func (r ready) save(dataDir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(readyPath(dataDir), b, 0o600)
}

// findUp reads where the local `up` of dataDir serves.
func findUp(dataDir string) (ready, error) {
	var r ready
	b, err := os.ReadFile(readyPath(dataDir))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, &exitError{code: exitUnreachable, what: "no local deployment runs on " + dataDir, next: "meridian up --data " + dataDir}
	}
	return r, nil
}
