//! Where tensors live: named by the caller, checked before the first call.

use super::tensor::{IntTensor, Tensor, to_vec};
use crate::error::{Error, Result};
use crate::types::Matrix;
use burn::DispatchDevice;
use burn::tensor::TensorData;
use burn_flex::FlexDevice;

/// A device, chosen at run time. Its name is `cpu`, `cuda`, `cuda:1`, ...
#[derive(Debug, Clone)]
pub struct Device {
    name: String,
    inner: DispatchDevice,
}

/// By where it is, not by how it was named: `cuda` is `cuda:0`.
impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Self {
        Self { name: "cpu".into(), inner: FlexDevice.into() }
    }

    /// A device by its name: `cpu`; `cuda` or `cuda:N`, `wgpu` or `ndarray` where they are compiled in.
    ///
    /// # Errors
    /// [`Error::Device`] for an unknown name, a device that is not compiled in, and a GPU or its libraries that are not there.
    pub fn parse(name: &str) -> Result<Self> {
        let failed = |message: String| Error::Device { device: name.into(), message };
        let (kind, number) = match name.split_once(':') {
            None => (name, 0),
            Some((kind, number)) => {
                let number = number
                    .parse::<usize>()
                    .map_err(|_| failed(format!("expected a device number after the colon, got `{number}`")))?;
                (kind, number)
            }
        };
        let inner = match kind {
            "cpu" if number == 0 => return Ok(Self::cpu()),
            "cuda" => cuda(number).map_err(failed)?,
            "wgpu" if number == 0 => wgpu().map_err(failed)?,
            "ndarray" if number == 0 => ndarray().map_err(failed)?,
            _ => return Err(failed("expected `cpu`, `cuda`, `cuda:N`, `wgpu` or `ndarray`".into())),
        };
        Ok(Self { name: name.into(), inner })
    }

    /// The device that a tensor is on.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        let inner = match tensor.device() {
            DispatchDevice::Autodiff(device) => (*device).clone(),
            device => device,
        };
        let name = match &inner {
            DispatchDevice::Flex(_) => "cpu".into(),
            // `Cuda(1)` is written `cuda:1`.
            other => format!("{other:?}").to_lowercase().replace('(', ":").replace(')', ""),
        };
        Self { name, inner }
    }

    /// The name by which it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this is the CPU.
    pub fn is_cpu(&self) -> bool {
        matches!(self.inner, DispatchDevice::Flex(_))
    }

    /// The tensor library's device, without autodiff.
    pub fn inner(&self) -> &DispatchDevice {
        &self.inner
    }

    /// The tensor library's device with autodiff: what is made on it may ask for a gradient.
    pub fn autodiff(&self) -> DispatchDevice {
        DispatchDevice::autodiff(self.inner.clone())
    }

    /// A matrix `[rows, cols]` on this device.
    pub fn upload(&self, matrix: &Matrix) -> Tensor<2> {
        let data = TensorData::new(matrix.as_slice().to_vec(), [matrix.rows(), matrix.cols()]);
        Tensor::from_data(data, &self.inner)
    }

    /// Values of this shape, row-major, on this device.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not as many values as the shape has.
    pub fn tensor<const D: usize>(&self, data: Vec<f32>, shape: [usize; D]) -> Result<Tensor<D>> {
        check_len(data.len(), &shape)?;
        Ok(Tensor::from_data(TensorData::new(data, shape), &self.inner))
    }

    /// Integers of this shape, row-major, on this device.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not as many values as the shape has.
    pub fn int_tensor<const D: usize>(&self, data: Vec<i32>, shape: [usize; D]) -> Result<IntTensor<D>> {
        check_len(data.len(), &shape)?;
        Ok(IntTensor::from_data(TensorData::new(data, shape), &self.inner))
    }

    /// A tensor's values as a matrix.
    ///
    /// # Errors
    /// [`Error::Device`] when the device cannot be read.
    pub fn download(tensor: Tensor<2>) -> Result<Matrix> {
        let [rows, cols] = tensor.dims();
        Matrix::new(rows, cols, to_vec(tensor)?)
    }
}

fn check_len(len: usize, shape: &[usize]) -> Result<()> {
    if shape.iter().product::<usize>() != len {
        return Err(Error::input("tensor", format!("as many values as the shape {shape:?} has"), len));
    }
    Ok(())
}

/// The order of the checks matters: without a driver every call of the CUDA library panics, its device count included.
#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<DispatchDevice, String> {
    // SAFETY: only tries to open the driver library and closes it again.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err("no CUDA driver (libcuda) is installed".into());
    }
    let count =
        cudarc::driver::CudaContext::device_count().map_err(|e| format!("the CUDA driver does not start: {e}"))?;
    let count = usize::try_from(count).unwrap_or(0);
    if number >= count {
        return Err(format!("expected a number below {count}, the count of CUDA devices, got {number}"));
    }
    // SAFETY: as above.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err("the CUDA run-time compiler (libnvrtc) is not installed".into());
    }
    let headers = std::env::var_os("CUDA_PATH").map(std::path::PathBuf::from).or_else(|| {
        ["/usr/local/cuda", "/opt/cuda", "/usr"]
            .iter()
            .map(std::path::PathBuf::from)
            .find(|p| p.join("include/cuda_fp16.h").exists())
    });
    match headers {
        Some(path) if path.join("include/cuda_fp16.h").exists() => {
            Ok(burn::backend::cuda::CudaDevice { index: number }.into())
        }
        Some(path) => Err(format!("CUDA_PATH is {}, and there is no include/cuda_fp16.h in it", path.display())),
        None => Err("no CUDA headers: set CUDA_PATH to the folder that holds include/cuda_fp16.h".into()),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: usize) -> Result<DispatchDevice, String> {
    Err("CUDA is not compiled in: build with the feature `cuda`".into())
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<DispatchDevice, String> {
    // The name of the dispatching device depends on the graphics interface; the conversion finds it.
    Ok(burn::backend::wgpu::WgpuDevice::default().into())
}

#[cfg(not(feature = "wgpu"))]
fn wgpu() -> Result<DispatchDevice, String> {
    Err("wgpu is not compiled in: build with the feature `wgpu`".into())
}

#[cfg(feature = "ndarray-backend")]
fn ndarray() -> Result<DispatchDevice, String> {
    Ok(burn::backend::ndarray::NdArrayDevice::default().into())
}

#[cfg(not(feature = "ndarray-backend"))]
fn ndarray() -> Result<DispatchDevice, String> {
    Err("ndarray is not compiled in: build with the feature `ndarray-backend`".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(Device::parse("cpu").unwrap().is_cpu());
        for name in ["", "gpu", "cpu:1", "cuda:x", "cuda:-1"] {
            let error = Device::parse(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("device `{name}`")), "{error}");
        }
    }

    #[test]
    fn a_missing_gpu_is_an_error() {
        // Where a GPU is there, the thousandth is not.
        assert!(matches!(Device::parse("cuda:1000"), Err(Error::Device { .. })));
    }

    #[test]
    fn values_come_back() {
        let matrix = Matrix::new(2, 3, (0..6).map(|v| v as f32).collect()).unwrap();
        assert_eq!(Device::download(Device::cpu().upload(&matrix)).unwrap(), matrix);
        assert!(Device::cpu().tensor(vec![0.0; 5], [2, 3]).is_err());
        assert_eq!(Device::of(&Device::cpu().upload(&matrix)), Device::cpu());
        assert_eq!(Device::of(&Device::cpu().upload(&matrix)).name(), "cpu");
    }
}
