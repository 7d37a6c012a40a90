;; Makes few specifications, each of half a megabyte.
;; expect: ends more than 8 MiB of commands
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 10)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 500000))
  (loop $again
    (drop (call $spec.shell (i32.const 131072) (i32.const 500000)))
    (br $again))
  unreachable)
