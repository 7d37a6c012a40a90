;; Writes a byte into log after log, each with a name that cannot be.
;; leaves: into text
;; expect: ends more than 10000 journal rows
(func (export "step#run") (param i32 i32) (result i32)
  (local $n i32)
  (loop $again
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (i32.store (i32.const 600) (i32.const 0x2f2e2e2f))
    (i32.store16 (i32.const 604) (i32.or (i32.const 0x4040) (i32.and (local.get $n) (i32.const 0x3f3f))))
    (call $build.write-log (i32.const 600) (i32.const 6) (text "x"))
    (br $again)) unreachable)
