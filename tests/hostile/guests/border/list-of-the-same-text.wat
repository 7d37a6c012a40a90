;; Hands in a list of a hundred thousand arguments, all of them one text of a kilobyte: a little memory here, a hundred
;; megabytes in the host.
;; expect: ends fuel
(func (export "step#run") (param i32 i32) (result i32)
  (local $at i32)
  (drop (memory.grow (i32.const 20)))
  (local.set $at (i32.const 131072))
  (loop $again
    (i32.store (local.get $at) (i32.const 4096))
    (i32.store offset=4 (local.get $at) (i32.const 1024))
    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 931072))))
  (drop (call $spec.argv (i32.const 131072) (i32.const 100000)))
  (call $done))
