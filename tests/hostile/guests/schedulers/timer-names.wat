;; Sets eight timers, each with a name of a megabyte, and each another.
;; kind: scheduler
;; expect: ends the name of a timer
(func (export "scheduler#handle") (param i32) (result i32)
  (local $n i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1100000))
  (loop $again
    (i32.store (i32.add (i32.const 512) (i32.shl (local.get $n) (i32.const 4))) (i32.const 131072))
    (i32.store (i32.add (i32.const 516) (i32.shl (local.get $n) (i32.const 4))) (i32.sub (i32.const 1048576) (local.get $n)))
    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 8))))
  (call $decide (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 512) (i32.const 8) (i32.const 0) (i32.const 0)))
