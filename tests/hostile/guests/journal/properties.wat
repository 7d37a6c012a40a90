;; Sets a thousand properties of a megabyte each: all of them are kept with the build.
;; expect: ends
(func (export "step#run") (param i32 i32) (result i32)
  (local $n i32)
  (drop (memory.grow (i32.const 20)))
  (memory.fill (i32.const 131072) (i32.const 48) (i32.const 900000))
  (i32.store8 (i32.const 131072) (i32.const 34))
  (i32.store8 (i32.const 1031071) (i32.const 34))
  (loop $again
    (i32.store (i32.const 600) (i32.add (i32.const 0x61616161) (local.get $n)))
    (call $build.set-property (i32.const 600) (i32.const 4) (i32.const 131072) (i32.const 900000) (i32.const 256))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.const 1000))))
  (call $done))
