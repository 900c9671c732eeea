# Builds what people install on Windows into target\package: a portable .zip and, where WiX is installed, an .msi.
# Run in a Visual Studio developer prompt (rc.exe), from anywhere:  pwsh packaging\windows\build.ps1
$ErrorActionPreference = 'Stop'
$PSNativeCommandUseErrorActionPreference = $true
Set-Location (Join-Path $PSScriptRoot '..\..')

$target = 'x86_64-pc-windows-msvc'
$out = 'target\package'
$version = (Select-String -Path Cargo.toml -Pattern '^version = "(.*)"' | Select-Object -First 1).Matches.Groups[1].Value
New-Item -ItemType Directory -Force $out | Out-Null

# The manifest of ours takes the place of the linker's. Flags of a target do not reach build scripts when it is named.
rc.exe /nologo /fo "$out\insula.res" packaging\windows\insula.rc
$resource = (Resolve-Path "$out\insula.res").Path
$env:CARGO_TARGET_X86_64_PC_WINDOWS_MSVC_RUSTFLAGS = "-Ctarget-feature=+crt-static -Clink-arg=$resource -Clink-arg=/MANIFEST:NO"
cargo build --release --locked --target $target
$program = "target\$target\release\insula.exe"

$env:INSULA_HOME = Join-Path (Get-Location) "$out\home"
& $program runtime install --quiet
$library = Get-ChildItem -Recurse "$out\home\runtime" -Filter onnxruntime.dll | Select-Object -First 1
if (-not $library) { throw 'ONNX Runtime was not installed' }

$name = "insula-$version-windows-x86_64"
$folder = "$out\$name"
Remove-Item -Recurse -Force $folder -ErrorAction SilentlyContinue
New-Item -ItemType Directory "$folder\lib" | Out-Null
Copy-Item $program, LICENSE-MIT, LICENSE-APACHE, assets\icon\insula.ico $folder
Copy-Item $library.FullName "$folder\lib"
python packaging\third_party --target $target --runtime $library.DirectoryName |
    Out-File -Encoding utf8 "$folder\THIRD-PARTY.txt"
Compress-Archive -Force $folder "$out\$name.zip"

if (Get-Command wix -ErrorAction SilentlyContinue) {
    wix build packaging\windows\insula.wxs -arch x64 -d "Version=$version" -d "Files=$folder" -o "$out\$name.msi"
}
Get-ChildItem $out -File | Where-Object Name -Like 'insula-*' | ForEach-Object {
    '{0}: {1:N1} MB' -f $_.Name, ($_.Length / 1e6)
    if ($_.Length -gt 150e6) { throw "$($_.Name) is larger than 150 MB" }
}
