;; Sets a property without end.
;; expect: ends more than 10000 journal rows
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (call $build.set-property (text "a") (text "1") (i32.const 256)) (br $again)) unreachable)
