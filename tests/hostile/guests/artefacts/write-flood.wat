;; Writes without end.
;; grants: artefacts = ["*"]
;; expect: ends more than 10000 journal rows
(func (export "step#run") (param i32 i32) (result i32)
  (loop $again (call $artefacts.write (text "app") (text "x") (i32.const 256)) (br $again)) unreachable)
