;; Takes all that it may have and writes to every page of it.
;; kind: reporter
;; expect: answers
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $at i32)
  (drop (memory.grow (i32.const 1000)))
  (loop $again
    (i32.store8 (local.get $at) (i32.const 1))
    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 65000000))))
  (i32.store8 (i32.const 128) (i32.const 0))
  (call $done))
