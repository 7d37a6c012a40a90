;; Makes a hundred thousand specifications and gives none back: they live in the host.
;; expect: ends resource table
(func (export "step#run") (param i32 i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 100000))
  (loop $again
    (drop (call $argv (text "make") (text "all")))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $done))
