;; Every import of a step, and answers. `$done` is success, `$fail` is `permanent` with a text.

(import "capstan:plugin/log@wit" "write" (func $log.write (param i32 i32 i32)))
(import "capstan:plugin/clock@wit" "now" (func $clock.now (result i64)))
(import "capstan:plugin/entropy@wit" "seed" (func $entropy.seed (result i64)))
(import "capstan:plugin/timers@wit" "sleep-ms" (func $timers.sleep (param i64) (result i32)))
(import "capstan:plugin/build@wit" "step-name" (func $build.step-name (param i32)))
(import "capstan:plugin/build@wit" "sources" (func $build.sources (param i32)))
(import "capstan:plugin/build@wit" "get-property" (func $build.get-property (param i32 i32 i32)))
(import "capstan:plugin/build@wit" "set-property" (func $build.set-property (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/build@wit" "set-summary" (func $build.set-summary (param i32 i32)))
(import "capstan:plugin/build@wit" "add-link" (func $build.add-link (param i32 i32 i32 i32)))
(import "capstan:plugin/build@wit" "write-log" (func $build.write-log (param i32 i32 i32 i32)))
(import "capstan:plugin/commands@wit" "[static]spec.argv" (func $spec.argv (param i32 i32) (result i32)))
(import "capstan:plugin/commands@wit" "[static]spec.shell" (func $spec.shell (param i32 i32) (result i32)))
(import "capstan:plugin/commands@wit" "[method]spec.set-workdir" (func $spec.set-workdir (param i32 i32 i32)))
(import "capstan:plugin/commands@wit" "[method]spec.set-env" (func $spec.set-env (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/commands@wit" "[method]spec.set-secret-env" (func $spec.set-secret-env (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/commands@wit" "[method]spec.set-log" (func $spec.set-log (param i32 i32 i32)))
(import "capstan:plugin/commands@wit" "[method]spec.set-capture-stdout" (func $spec.set-capture-stdout (param i32 i32)))
(import "capstan:plugin/commands@wit" "[resource-drop]spec" (func $spec.drop (param i32)))
(import "capstan:plugin/commands@wit" "[method]command.id" (func $command.id (param i32 i32)))
(import "capstan:plugin/commands@wit" "[method]command.wait" (func $command.wait (param i32 i32)))
(import "capstan:plugin/commands@wit" "[method]command.kill" (func $command.kill (param i32 i32 i32)))
(import "capstan:plugin/commands@wit" "[resource-drop]command" (func $command.drop (param i32)))
(import "capstan:plugin/commands@wit" "start" (func $commands.start (param i32 i32)))
(import "capstan:plugin/commands@wit" "run" (func $commands.run (param i32 i32)))
(import "capstan:plugin/commands@wit" "wait-any" (func $commands.wait-any (param i32 i32) (result i32)))

(import "capstan:plugin/artefacts@wit" "publish" (func $artefacts.publish (param i32 i32 i32 i32 i32)))
(import "capstan:plugin/artefacts@wit" "write" (func $artefacts.write (param i32 i32 i32 i32 i32)))

;; Answers lie at 128 (success, never written) and 16 (an error); what the host answers goes to 256 and following.
(func $done (result i32) (i32.const 128))
(func $fail (param $text i32) (param $length i32) (result i32)
  (i32.store8 (i32.const 16) (i32.const 1))
  (i32.store8 (i32.const 20) (i32.const 2))
  (i32.store (i32.const 24) (local.get $text))
  (i32.store (i32.const 28) (local.get $length))
  (i32.const 16))

;; A specification of a program with one argument.
(func $argv (param $program i32) (param $length i32) (param $argument i32) (param $size i32) (result i32)
  (i32.store (i32.const 512) (local.get $program))
  (i32.store (i32.const 516) (local.get $length))
  (i32.store (i32.const 520) (local.get $argument))
  (i32.store (i32.const 524) (local.get $size))
  (call $spec.argv (i32.const 512) (i32.const 2)))

;; Starts a command and answers its handle; 0 if it was refused.
(func $start (param $spec i32) (result i32)
  (call $commands.start (local.get $spec) (i32.const 256))
  (if (i32.load8_u (i32.const 256)) (then (return (i32.const 0))))
  (i32.load (i32.const 260)))

;; Runs a command; a refusal becomes the step's error.
(func $run (param $spec i32) (result i32)
  (call $commands.run (local.get $spec) (i32.const 256))
  (if (i32.load8_u (i32.const 256))
    (then (return (call $fail (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
  (call $done))

;; Publishes a file or writes an artefact, which went before into 256; a refusal becomes the step's error.
(func $stored (result i32)
  (if (i32.load8_u (i32.const 256))
    (then (return (call $fail (i32.load (i32.const 268)) (i32.load (i32.const 272))))))
  (call $done))

(func (export "step#check") (param i32 i32) (result i32) (call $done))
(func (export "step#run") (param i32 i32) (result i32) (call $done))
