package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// javaMajor is the version of Java that Cassandra 5.0 is run with here: its flags are made for it.
const javaMajor = "17"

var javaVersion = regexp.MustCompile(`version "(([0-9]+)[^"]*)"`)

// findJava gives the path of Java 17, from JAVA_HOME or PATH, and its whole version.
func findJava(ctx context.Context) (path, version string, err error) {
	path = "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path = filepath.Join(home, "bin", "java")
	}
	if path, err = exec.LookPath(path); err != nil {
		return "", "", fmt.Errorf("java is missing (Debian: apt-get install openjdk-17-jre-headless): %w", err)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("%s -version: %w: %s", path, err, out)
	}
	m := javaVersion.FindSubmatch(out)
	if m == nil || string(m[2]) != javaMajor {
		return "", "", fmt.Errorf("%s is not Java %s, which Cassandra 5.0 needs: set JAVA_HOME to one. It says: %s", path, javaMajor, out)
	}
	return path, string(m[1]), nil
}

// Modules that Java 17 must open to Cassandra and its tools, or they die at their start.
const (
	addExports = `java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.base/java.lang.ref
		java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql
		jdk.unsupported/sun.misc jdk.attach/sun.tools.attach`
	addOpens = `java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect
		java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar java.base/sun.nio.ch java.base/java.io
		java.base/java.lang.reflect java.base/java.lang java.base/java.util java.base/java.nio java.base/java.util.concurrent
		java.base/java.util.concurrent.atomic jdk.management/com.sun.management.internal`
)

func moduleFlags() []string {
	var flags []string
	for _, m := range strings.Fields(addExports) {
		flags = append(flags, "--add-exports="+m+"=ALL-UNNAMED")
	}
	for _, m := range strings.Fields(addOpens) {
		flags = append(flags, "--add-opens="+m+"=ALL-UNNAMED")
	}
	return flags
}

// serverFlags keep a node small and its start short: a test's, not production's. What a node writes beside its data goes to
// its own directory.
const serverFlags = `-ea -da:net.openhft... -Xms256m -Xmx256m -Xss256k -XX:+UseSerialGC -XX:TieredStopAtLevel=1
	-XX:MaxDirectMemorySize=128m -XX:+PerfDisableSharedMem -XX:+ExitOnOutOfMemoryError -XX:ReservedCodeCacheSize=96m
	-Djdk.attach.allowAttachSelf=true -Djava.net.preferIPv4Stack=true -Dio.netty.tryReflectionSetAccessible=true
	-Dio.netty.allocator.maxOrder=11 -Dio.netty.allocator.numDirectArenas=1 -Dio.netty.allocator.numHeapArenas=1
	-Dio.netty.eventLoopThreads=2 -Dcassandra-foreground=yes -Dcom.sun.management.jmxremote.authenticate=false
	-Dcassandra.available_processors=2 -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.shutdown_announce_in_ms=200
	-Dcassandra.schema_pull_interval_ms=1000`

// emptyClusterFlags skip waits that guard a ring that exists: a node that joined one so streamed nothing, and its data was
// out of view. They are for clusters that nobody else is in yet, and for those of one node.
const emptyClusterFlags = `-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1000
	-Dcassandra.gossip_settle_min_wait_ms=0 -Dcassandra.gossip_settle_interval_ms=100 -Dcassandra.consistent.rangemovement=false`

// toolFlags are those of nodetool.
const toolFlags = "-Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+PerfDisableSharedMem"

// argumentFile gives flags as java reads them from a file (java @FILE), one a line.
func argumentFile(flags []string) string {
	var b strings.Builder
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for _, f := range flags {
		b.WriteString(`"` + quote.Replace(f) + "\"\n")
	}
	return b.String()
}

// moduleRoot gives the directory of this module's go.mod, at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module meridian\n") {
			return dir, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not inside the repository of Meridian: no go.mod of module meridian at or above the working directory")
		}
	}
}

// CacheDir gives where what was downloaded or built for real servers is kept: the directory that MERIDIAN_CACHE names (for
// several copies of the repository on one machine), or .cache in the root of the module.
func CacheDir() (string, error) {
	if dir := os.Getenv("MERIDIAN_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache"), nil
}
