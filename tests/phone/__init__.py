"""A simulated iPhone, for tests only: coremltools' own device client talks to it, on Linux, unchanged.

**A simulator is never a source of numbers.** Its latencies come from a formula that we made up (`latency`), so
that a test knows what a measurement ought to find. Nothing it answers may enter a table, a document or a report.

    with SimulatedPhone(tmp_path) as phone:                       # simulated_phone
        phone.faults.next("prediction", "no_answer")              # faults
        device = Device.get_connected_devices(DeviceType.IPHONE)[0]

What is real: all of coremltools' client, the shell commands it runs, the files it copies and the messages in
them. What stands in for Apple's part: the programs `xcrun`, `devicectl` and `xcodebuild` (`commands`,
`devicectl`, `xcodebuild`), the app on the phone (`app`, `service`), the model compiler (`compiler`), and three
macOS-only classes that coremltools takes from a binary that Linux lacks (`patches`).

Wordings of Apple's error messages are close to what people have reported, not exact.

Modules that the programs run (`app`, `desk`, `devicectl`, `faults`, `latency`, `service`, `xcodebuild`) import
the standard library only: such a program starts some fifty times in a test, and takes 30 ms each time.
"""
