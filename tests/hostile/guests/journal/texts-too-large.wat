;; Writes five megabytes into its log at once.
;; expect: ends at most 1048576 fit
(func (export "step#run") (param i32 i32) (result i32)
  (drop (memory.grow (i32.const 100)))
  (call $build.write-log (text "flood") (i32.const 131072) (i32.const 5000000)) (call $done))
