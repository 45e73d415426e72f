// Test backend on gorilla/websocket: a loop that reads and handles in turn, so the pong comes after the handler.
// Only `/echo`, `/slow` and `/answer`; see tests/README.md.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/gorilla/websocket"
)

var (
	port        = flag.Int("port", 0, "the port on 127.0.0.1")
	logPath     = flag.String("log", "", "the event log")
	file        *os.File
	connections int64
	upgrader    = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
)

// The clock that all processes of a test share: CLOCK_MONOTONIC.
func monotonic() int64 {
	var now syscall.Timespec
	const clockMonotonic = 1
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

// One write(2) a line, so that a SIGKILL loses nothing that was written.
func logLine(event, connection, rest string) {
	fmt.Fprintf(file, "%d %s %s %s\n", monotonic(), event, connection, rest)
}

func logMessage(event, connection string, data []byte) {
	prefix := make([]byte, 0, 64)
	for _, b := range data[:min(len(data), 64)] {
		if b < ' ' || b > '~' {
			b = '?'
		}
		prefix = append(prefix, b)
	}
	logLine(event, connection, fmt.Sprintf("%d %s", len(data), prefix))
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

func behaviour(request *http.Request) (prefix string, pause time.Duration) {
	milliseconds := 0
	switch request.URL.Path {
	case "/answer":
		prefix = "re:"
	case "/slow":
		milliseconds = 1000
	default:
		return "", 0
	}
	if asked, err := strconv.Atoi(request.URL.Query().Get("ms")); err == nil {
		milliseconds = asked
	}
	return prefix, time.Duration(milliseconds) * time.Millisecond
}

func handle(writer http.ResponseWriter, request *http.Request) {
	connection, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	name := fmt.Sprintf("%d-%d", os.Getpid(), atomic.AddInt64(&connections, 1))
	logLine("open", name, request.RequestURI)
	prefix, pause := behaviour(request)
	for {
		kind, data, err := connection.ReadMessage()
		if err != nil {
			logEnd(name, err)
			return
		}
		logMessage("read", name, data)
		time.Sleep(pause)
		// A write error is not yet the end: what the client sent before may still be there to read.
		_ = connection.WriteMessage(kind, append([]byte(prefix), data...))
		logMessage("done", name, data)
	}
}

func logEnd(name string, err error) {
	if close, ok := err.(*websocket.CloseError); ok && close.Code != websocket.CloseAbnormalClosure {
		logLine("close", name, fmt.Sprintf("%d %s", close.Code, close.Text))
	} else {
		logLine("eof", name, "")
	}
}

// The test holds the other end of standard input: its end is the test's end.
func endWithTheTest() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func main() {
	flag.Parse()
	go endWithTheTest()
	var err error
	if file, err = os.OpenFile(*logPath, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		<-terminate
		os.Exit(0)
	}()
	logLine("ready", strconv.Itoa(os.Getpid()), strconv.Itoa(*port))
	log.Fatal(http.Serve(listener, http.HandlerFunc(handle)))
}
