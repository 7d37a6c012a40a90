;; A summary of ten megabytes: it is cut.
;; expect: answers …
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 200)))
  (memory.fill (i32.const 131072) (i32.const 97) (i32.const 10000000))
  (call $build.set-summary (i32.const 131072) (i32.const 10000000)) (call $done))
