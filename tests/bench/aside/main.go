// Many callers ask rueidisaside for one cold key at once: the peer of ../servers/stampede.c, with the same arguments and
// the same output.
//
//	aside ADDRESS PROCESSES CALLERS LOAD_MS
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"
)

// The time that the processes have to connect before they all begin.
const preparation = 500 * time.Millisecond

// Times are those of the wall clock, which all processes of a machine share.
type figures struct {
	loads, served int64
	filled, last  int64
}

func main() {
	if len(os.Args) == 7 {
		child(os.Args[1], number(os.Args[3]), number(os.Args[4]), os.Args[5], int64(number(os.Args[6])))
		return
	}
	if len(os.Args) != 5 {
		fail("aside ADDRESS PROCESSES CALLERS LOAD_MS")
	}
	begin := time.Now().Add(preparation).UnixNano()
	key := fmt.Sprintf("cold:%d:%d", os.Getpid(), begin)
	sum := figures{}
	var children []*exec.Cmd
	var outputs []*os.File
	for range number(os.Args[2]) {
		command := exec.Command(os.Args[0], append(os.Args[1:5:5], key, strconv.FormatInt(begin, 10))...)
		from, to, err := os.Pipe()
		check(err)
		command.Stdout, command.Stderr = to, os.Stderr
		check(command.Start())
		to.Close()
		children, outputs = append(children, command), append(outputs, from)
	}
	for at, command := range children {
		var one figures
		_, err := fmt.Fscan(outputs[at], &one.loads, &one.served, &one.filled, &one.last)
		check(err)
		check(command.Wait())
		sum.loads, sum.served = sum.loads+one.loads, sum.served+one.served
		sum.filled, sum.last = max(sum.filled, one.filled), max(sum.last, one.last)
	}
	fmt.Printf("%d %d %.1f\n", sum.loads, sum.served, float64(sum.last-sum.filled)/1e6)
}

func child(address string, callers, loadMs int, key string, begin int64) {
	client, err := rueidisaside.NewClient(rueidisaside.ClientOption{
		ClientOption: rueidis.ClientOption{InitAddress: []string{address}},
	})
	check(err)
	defer client.Close()
	var loads, filled, last atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			time.Sleep(time.Until(time.Unix(0, begin)))
			_, err := client.Get(context.Background(), time.Minute, key, func(context.Context, string) (string, error) {
				loads.Add(1)
				time.Sleep(time.Duration(loadMs) * time.Millisecond)
				filled.Store(time.Now().UnixNano())
				return "value", nil
			})
			check(err)
			now := time.Now().UnixNano()
			for before := last.Load(); before < now && !last.CompareAndSwap(before, now); before = last.Load() {
			}
		})
	}
	all.Wait()
	fmt.Println(loads.Load(), callers, filled.Load(), last.Load())
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "aside:", text)
	os.Exit(1)
}
